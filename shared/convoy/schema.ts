// PURE. The part of the Standard Schema interface (https://standardschema.dev) that a convoy needs,
// so that any schema library fits and the core depends on none. Asynchronous schemas are refused: a
// message is settled inside one transaction, with nothing awaited.

import { synchronous } from './json.ts';

export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => SchemaResult<Output> | PromiseLike<unknown>;
    readonly types?: { readonly input: Input; readonly output: Output } | undefined;
  };
}

export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

export type BodyOf<Schema extends StandardSchema> = NonNullable<
  Schema['~standard']['types']
>['output'];

/** The coerced value, or the first three faults as one line. Throws when the schema is
 *  asynchronous. */
export function checkBody(
  schema: StandardSchema,
  body: unknown,
): { value: unknown } | { fault: string } {
  const given: unknown = synchronous(schema['~standard'].validate(body), 'the schema');
  if (typeof given !== 'object' || given === null) {
    throw new TypeError(`the schema answered ${typeof given}, not a Standard Schema result`);
  }
  const result = given as SchemaResult<unknown>;
  if (result.issues === undefined) return { value: result.value };
  const faults = result.issues.slice(0, 3).map((issue) => {
    const path = (issue.path ?? []).map((part) =>
      String(typeof part === 'object' ? part.key : part),
    );
    return path.length === 0 ? issue.message : `${path.join('.')}: ${issue.message}`;
  });
  const more = result.issues.length - faults.length;
  return { fault: faults.join('; ') + (more > 0 ? `; and ${more} more` : '') };
}
