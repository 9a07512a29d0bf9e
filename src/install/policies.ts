/**
 * ValidatingAdmissionPolicies: what RBAC cannot say. A Session names its true creator and stands where the manager
 * looks; its status is the manager's alone. Kubernetes 1.30 and newer. Pure.
 */
import type {
  ValidatingAdmissionPolicy,
  ValidatingAdmissionPolicyBinding,
  Validation,
} from 'kubernetes-types/admissionregistration/v1.js';
import { GROUP, GROUP_VERSION, labelsOf, managerAccount } from './identity.js';
import { because, explain } from './reasons.js';

const API = 'admissionregistration.k8s.io/v1';

/** Names of the policies; each binding has its policy's name. */
export const SESSION_POLICY = 'cz-session-user';
export const STATUS_POLICY = 'cz-session-status';

/** Returns the policy that a Session's `spec.user` is whoever creates it. */
export function sessionPolicy(namespace: string, version: string): ValidatingAdmissionPolicy {
  const user = explain(
    {
      expression: 'object.spec.user == request.userInfo.username',
      messageExpression:
        "'spec.user is \"' + object.spec.user + '\", but this request comes from \"' + request.userInfo.username + '\"'",
      reason: 'Forbidden',
    },
    { expression: 'An object carries no trustworthy creator: so the creator’s name is demanded here.' },
  );
  const place = {
    expression: `request.namespace == '${namespace}'`,
    message: `Sessions belong into the manager's namespace, "${namespace}"`,
    reason: 'Invalid',
  };
  return policy(SESSION_POLICY, version, 'sessions', ['CREATE'], [user, place]);
}

/** Returns the policy that only the manager writes a Session's status. */
export function statusPolicy(namespace: string, version: string): ValidatingAdmissionPolicy {
  const account = managerAccount(namespace);
  const manager = explain(
    {
      expression: `request.userInfo.username == '${account}'`,
      message: `only ${account} writes a Session's status`,
      reason: 'Forbidden',
    },
    {
      expression:
        'The laptop trusts the manager key in the status: a right to patch every status must not be enough.',
    },
  );
  return policy(STATUS_POLICY, version, 'sessions/status', ['UPDATE'], [manager]);
}

function policy(
  name: string,
  version: string,
  resource: string,
  operations: string[],
  validations: Validation[],
): ValidatingAdmissionPolicy {
  return {
    apiVersion: API,
    kind: 'ValidatingAdmissionPolicy',
    metadata: { name, labels: labelsOf(version) },
    spec: explain(
      {
        failurePolicy: 'Fail',
        matchConstraints: {
          matchPolicy: 'Equivalent',
          namespaceSelector: {},
          objectSelector: {},
          resourceRules: [
            {
              apiGroups: [GROUP],
              apiVersions: [GROUP_VERSION],
              operations,
              resources: [resource],
              scope: '*',
            },
          ],
        },
        validations,
      },
      { failurePolicy: 'What cannot be judged is refused.' },
    ),
  };
}

/** Returns the binding that puts a policy into force, everywhere. */
export function policyBinding(name: string, version: string): ValidatingAdmissionPolicyBinding {
  return because('Without its binding a policy does nothing.', {
    apiVersion: API,
    kind: 'ValidatingAdmissionPolicyBinding',
    metadata: { name, labels: labelsOf(version) },
    spec: { policyName: name, validationActions: ['Deny'] },
  });
}
