// The app settings of a host: what is handed in, the environment, local.settings.json. Owns their
// precedence, `%NAME%`, and the settings that switch a function off or name a connection; host.json
// is host-json.ts.
//
// S1 Settings handed in win over the environment, a non-empty environment over local.settings.json
//    [FH 5.2]; all of them stand in process.env while the host is open, and leave it at the end.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { HostFault } from './faults.ts';
import { parseJsonFile, section } from './json-file.ts';

export type Warn = (message: string) => void;

/** Puts the settings of a host into process.env; the returned function takes them out again. */
export function applyEnvironment(
  appDir: string,
  own: Record<string, string>,
  warn: Warn,
): () => void {
  const before = new Map<string, string | undefined>();
  const set = (name: string, value: string): void => {
    if (!before.has(name)) before.set(name, process.env[name]);
    process.env[name] = value;
  };
  for (const [name, value] of Object.entries(localSettings(appDir, warn))) {
    if (name in own) continue;
    if (process.env[name]) {
      warn(
        `Skipping '${name}' from local settings as it's already defined ` +
          'in current environment variables.',
      );
    } else set(name, value);
  }
  set('AZURE_FUNCTIONS_ENVIRONMENT', 'Development');
  set('AzureWebJobsScriptRoot', appDir);
  for (const [name, value] of Object.entries(own)) set(name, value);
  return () => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  };
}

/** [FH 5.2] The flat values of local.settings.json; nothing when there is no such file. */
function localSettings(appDir: string, warn: Warn): Record<string, string> {
  const path = join(appDir, 'local.settings.json');
  if (!existsSync(path)) return {};
  const file = parseJsonFile(path);
  const named = section(file, 'Values');
  // a missing IsEncrypted means true, and then the values cannot be read [FH 5.2]
  if (file['IsEncrypted'] !== false && Object.keys(named).length > 0) {
    throw new HostFault(
      `${path} is encrypted (IsEncrypted is not false): encrypted settings are not supported by ` +
        'the local host; decrypt them ("func settings decrypt") and write "IsEncrypted": false',
    );
  }
  const values: Record<string, string> = {};
  for (const [name, value] of Object.entries(named)) {
    if (typeof value === 'object' && value !== null) {
      warn(`${path}: the value of '${name}' is nested; write it flat, as ${name}__part`);
    } else if (value !== null && value !== undefined) values[name] = String(value);
  }
  for (const [name, value] of Object.entries(section(file, 'ConnectionStrings'))) {
    const text =
      typeof value === 'string' ? value : section({ value }, 'value')['ConnectionString'];
    if (typeof text === 'string') values[`ConnectionStrings:${name}`] = text;
  }
  return values;
}

/** The `Host` section of local.settings.json [FH 5.2]. */
export interface LocalHost {
  port?: number;
  cors: CorsSettings;
}

export interface CorsSettings {
  /** Empty = no CORS at all; `*` = every origin. */
  origins: readonly string[];
  isCredentialed: boolean;
}

export function readLocalHost(appDir: string): LocalHost {
  const path = join(appDir, 'local.settings.json');
  const host = existsSync(path) ? section(parseJsonFile(path), 'Host') : {};
  const port = Number(host['LocalHttpPort']);
  const isPort = Number.isInteger(port) && port > 0 && port < 65_536;
  return {
    ...(isPort ? { port } : {}),
    cors: corsOf(String(host['CORS'] ?? ''), isTrue(host['CORSCredentials'])),
  };
}

/** Origins as core tools take them: comma separated. */
export function corsOf(text: string, isCredentialed = false): CorsSettings {
  const origins = text.split(',').map((origin) => origin.trim().replace(/\/$/, ''));
  return { origins: origins.filter(Boolean), isCredentialed };
}

/** The value of an app setting; undefined when unset or empty. */
export function setting(name: string): string | undefined {
  return process.env[name] || undefined;
}

/** [FH 1.11] Replaces every `%NAME%`; throws when one is not set. */
export function resolvePercents(text: string): string {
  return text.replace(/%([^%]+)%/g, (whole, name: string) => {
    const value = setting(name);
    if (value === undefined) throw new HostFault(`'${whole}' does not resolve to a value.`);
    return value;
  });
}

/** [FH 5.2] `AzureWebJobs.<name>.Disabled` = true or 1. */
export function isDisabled(functionName: string): boolean {
  const value =
    setting(`AzureWebJobs.${functionName}.Disabled`) ??
    setting(`AzureWebJobs_${functionName}_Disabled`);
  return value !== undefined && /^(true|1)$/i.test(value);
}

/** [FH 2.12] The connection string behind a `connection` option; throws with what to set. */
export function connectionString(connection: unknown): string {
  const name = typeof connection === 'string' && connection ? connection : 'AzureWebJobsServiceBus';
  const value =
    setting(name) ?? setting(`AzureWebJobs${name}`) ?? setting(`ConnectionStrings:${name}`);
  if (value !== undefined) return value;
  if (setting(`${name}__fullyQualifiedNamespace`) !== undefined) {
    throw new HostFault(
      `Service Bus connection '${name}' is identity-based (${name}__fullyQualifiedNamespace), ` +
        `which the local host does not support; set ${name} to a connection string`,
    );
  }
  throw new HostFault(
    `Microsoft.Azure.WebJobs.ServiceBus: Service Bus account connection string '${name}' ` +
      'does not exist. Make sure that it is a defined App Setting.',
  );
}

export function isTrue(value: unknown): boolean {
  return value === true || String(value).toLowerCase() === 'true';
}
