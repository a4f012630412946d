import { grants, type Permission, type ResourceRule } from '../../src/kubernetes/access.js';

const rule: ResourceRule = { verbs: ['get', 'patch'], apiGroups: [''], resources: ['configmaps'] };
const permission: Permission = {
  verb: 'patch',
  group: '',
  resource: 'configmaps',
  namespace: 'spire',
  name: 'spire-server',
};

describe('a rule grants', () => {
  test.each<[string, Partial<ResourceRule>, Partial<Permission>, boolean]>([
    ['what it names', {}, {}, true],
    ['no other verb', {}, { verb: 'delete' }, false],
    ['every verb by a star', { verbs: ['*'] }, { verb: 'delete' }, true],
    ['no other group', {}, { group: 'apps' }, false],
    ['every group by a star', { apiGroups: ['*'] }, { group: 'apps' }, true],
    ['no other resource', {}, { resource: 'secrets' }, false],
    ['every resource by a star', { resources: ['*'] }, { resource: 'secrets' }, true],
    ['no subresource', {}, { subresource: 'status' }, false],
    ['a subresource that it names', { resources: ['pods/exec'] }, { resource: 'pods', subresource: 'exec' }, true],
    ['a subresource of all', { resources: ['*/exec'] }, { resource: 'pods', subresource: 'exec' }, true],
    ['not the resource, where it names a subresource', { resources: ['pods/exec'] }, { resource: 'pods' }, false],
    ['the object that it names', { resourceNames: ['spire-server'] }, {}, true],
    ['no other object', { resourceNames: ['spire-bundle'] }, {}, false],
    ['not all objects, where it names one', { resourceNames: ['spire-server'] }, { name: '' }, false],
    ['nothing, where it is about paths', { apiGroups: [], resources: [] }, {}, false],
  ])('%s', (_what, ruleOverrides, overrides, granted) => {
    expect(grants({ ...rule, ...ruleOverrides }, { ...permission, ...overrides })).toBe(granted);
  });
});
