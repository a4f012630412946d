import { z } from 'zod';
import { federationName } from '../contract/change.js';

/** What somebody may do: look; change; approve what waits for a person; everything, clusters and audit included. */
export const roleSchema = z.enum(['viewer', 'operator', 'approver', 'admin']);
export type Role = z.infer<typeof roleSchema>;

export type Permission = 'view' | 'change' | 'approve' | 'administer';

const GRANTS: Readonly<Record<Role, readonly Permission[]>> = {
  viewer: ['view'],
  operator: ['view', 'change'],
  approver: ['view', 'approve'],
  admin: ['view', 'change', 'approve', 'administer'],
};

/** A role, in one federation or in all (`*`). */
export const grantSchema = z.strictObject({ role: roleSchema, federation: z.union([z.literal('*'), federationName]) });
export type Grant = z.infer<typeof grantSchema>;

/** Who asks. */
export interface Principal {
  /** For the audit record: "token/ci", "oidc/alice@example.org". */
  name: string;
  grants: readonly Grant[];
}

/** What a role allows. */
export function permissionsOf(role: Role): readonly Permission[] {
  return GRANTS[role];
}

/** @param federation undefined: what concerns no federation, or all of them */
export function may({ grants }: Principal, permission: Permission, federation?: string): boolean {
  return grants.some(
    (grant) => (grant.federation === '*' || grant.federation === federation) && GRANTS[grant.role].includes(permission),
  );
}

/** The federations somebody may look at; undefined: all. */
export function visible({ grants }: Principal): ReadonlySet<string> | undefined {
  if (grants.some(({ federation }) => federation === '*')) return undefined;
  return new Set(grants.map(({ federation }) => federation));
}
