/** Whether a version like "1.15.2" comes before another; one that cannot be read does not. */
export function isOlder(version: string, than: string): boolean {
  const parts = /(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number);
  if (parts === undefined) return false;
  const other = than.split('.').map(Number);
  const index = parts.findIndex((part, position) => part !== other[position]);
  return index >= 0 && (parts[index] ?? 0) < (other[index] ?? 0);
}
