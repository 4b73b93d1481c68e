// Progress on stderr: a bar where somebody watches, a line every few seconds where not.
import { SingleBar } from 'cli-progress';
import { realClock } from '../../shared/clock.ts';
import { note } from './output.ts';

export interface Progress {
  /** `detail` is what else there is to say, in a few words. */
  show(done: number, detail?: string): void;
  end(): void;
}

const lineEveryMs = 3_000;

export function openProgress(what: string, total: number, isLive: boolean): Progress {
  return isLive ? liveBar(what, total) : lines(what, total);
}

function liveBar(what: string, total: number): Progress {
  const bar = new SingleBar({
    format: `${what} {bar} {percentage}% {value}/{total} {detail}`,
    hideCursor: true,
    clearOnComplete: true,
  });
  bar.start(total, 0, { detail: '' });
  return {
    show: (done, detail = '') => bar.update(done, { detail }),
    end: () => bar.stop(),
  };
}

function lines(what: string, total: number): Progress {
  let shownAt = realClock.now();
  return {
    show(done, detail = '') {
      if (realClock.now() - shownAt < lineEveryMs) return;
      shownAt = realClock.now();
      note(`${what} ${done} of ${total} ${detail}`.trimEnd());
    },
    end() {},
  };
}
