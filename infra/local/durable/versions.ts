// Orchestration versioning: which versions this hub runs (host.json: defaultVersion,
// versionMatchStrategy, versionFailureStrategy).

export interface VersionRules {
  /** Of instances that are started without one; also what the strategies compare with. */
  current: string;
  match: 'None' | 'Strict' | 'CurrentOrOlder';
  /** Fail ends the instance; Reject leaves it to a host of another version. */
  onMismatch: 'Reject' | 'Fail';
}

export const noVersionRules: VersionRules = { current: '', match: 'None', onMismatch: 'Reject' };

/** Why an instance of this version is not run here, or undefined. */
export function versionMismatch(version: string, rules: VersionRules): string | undefined {
  const { current, match } = rules;
  if (match === 'Strict' && version !== current) {
    return `VersionMismatch: the version '${version}' is not the version '${current}' of the app.`;
  }
  if (match === 'CurrentOrOlder' && compareVersions(version, current) > 0) {
    return `VersionMismatch: the version '${version}' is newer than '${current}' of the app.`;
  }
  return undefined;
}

/** Numbers between dots by value, anything else as text; no version is older than any. */
function compareVersions(a: string, b: string): number {
  if (a === '' || b === '') return Math.sign(a.length - b.length);
  const [left, right] = [partsOf(a), partsOf(b)];
  if (!left || !right) return a.toLowerCase().localeCompare(b.toLowerCase());
  for (let k = 0; k < Math.max(left.length, right.length); k++) {
    const difference = (left[k] ?? 0) - (right[k] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

function partsOf(version: string): number[] | undefined {
  return /^\d+(\.\d+){1,3}$/.test(version) ? version.split('.').map(Number) : undefined;
}
