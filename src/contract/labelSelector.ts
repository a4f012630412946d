import { z } from 'zod';

/** Kubernetes label syntax (apimachinery: pkg/util/validation, IsQualifiedName and IsValidLabelValue). */
export const labelKey = z
  .string()
  .regex(
    /^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/,
    'is not the key of a label',
  );
export const labelValue = z
  .string()
  .regex(/^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/, 'is not the value of a label');

const requirement = z
  .strictObject({
    key: labelKey,
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
    values: z.array(labelValue).optional(),
  })
  .refine(({ operator, values = [] }) => operator.endsWith('In') === values.length > 0, {
    message: 'In and NotIn take values, Exists and DoesNotExist take none',
    path: ['values'],
  });

/** Selects objects by their labels, as Kubernetes does; one that says nothing selects all. */
export const labelSelectorSchema = z.strictObject({
  matchLabels: z.record(labelKey, labelValue).optional(),
  matchExpressions: z.array(requirement).optional(),
});
export type LabelSelector = z.infer<typeof labelSelectorSchema>;
