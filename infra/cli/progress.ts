// Progress on stderr: a bar where somebody watches, a line every few seconds where not.
import { realClock } from '../../shared/clock.ts';
import { note } from './output.ts';

export interface Progress {
  show(done: number): void;
  end(): void;
}

const lineEveryMs = 3_000;

export function openProgress(what: string, total: number, isLive: boolean): Progress {
  return isLive ? liveBar(what, total) : lines(what, total);
}

function liveBar(what: string, total: number): Progress {
  // Loaded when needed: most commands show no bar.
  const loading = import('cli-progress').then(({ SingleBar }) => {
    const bar = new SingleBar({
      format: `${what} {bar} {percentage}% {value}/{total} {eta_formatted}`,
      hideCursor: true,
      clearOnComplete: true,
    });
    bar.start(total, 0);
    return bar;
  });
  return {
    show: (done) => void loading.then((bar) => bar.update(done)),
    end: () => void loading.then((bar) => bar.stop()),
  };
}

function lines(what: string, total: number): Progress {
  let shownAt = realClock.now();
  return {
    show(done) {
      if (realClock.now() - shownAt < lineEveryMs) return;
      shownAt = realClock.now();
      note(`${what} ${done} of ${total}`);
    },
    end() {},
  };
}
