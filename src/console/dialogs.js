import { byId, el } from './dom.js';

/** How long a pause may last, in seconds; 0: until somebody ends it. */
const PAUSES = { '30 minutes': 1_800, '2 hours': 7_200, '8 hours': 28_800, 'until resumed': 0 };

/**
 * Asks in a dialog; Escape or Cancel is no.
 * @returns {Promise<HTMLFormElement | undefined>} the form as it was sent
 */
function asked(title, confirm, ...content) {
  const dialog = byId('dialog');
  const form = el(
    'form',
    {
      onsubmit: (event) => {
        event.preventDefault();
        dialog.close('yes');
      },
    },
    el('h2', { id: 'dialog-title' }, title),
    ...content.filter((each) => each !== false),
    el(
      'div',
      { class: 'buttons' },
      el('button', { type: 'button', onclick: () => dialog.close('') }, 'Cancel'),
      el('button', { class: 'primary' }, confirm),
    ),
  );
  dialog.replaceChildren(form);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes' ? form : undefined), { once: true });
  });
}

/** @returns {Promise<{ reason: string, forSeconds?: number } | undefined>} */
export async function askPause() {
  const form = await asked(
    'Pause the monitor',
    'Pause',
    el('p', {}, 'Nothing is read and nothing repaired while it rests.'),
    el('label', { for: 'reason' }, 'Reason'),
    el('input', { id: 'reason', name: 'reason', required: true, maxlength: 500 }),
    el('label', { for: 'for' }, 'For'),
    el('select', { id: 'for', name: 'for' }, ...Object.keys(PAUSES).map((name) => el('option', {}, name))),
  );
  if (form === undefined) return undefined;
  const forSeconds = PAUSES[form.elements.for.value];
  return { reason: form.elements.reason.value, ...(forSeconds === 0 ? {} : { forSeconds }) };
}

/** @returns {Promise<boolean>} */
export async function askApproval({ check, scope, action, evidence, needsApproval }) {
  const form = await asked(
    'Approve this repair?',
    'Approve',
    el('p', {}, el('b', {}, `${check} · ${scope}`)),
    el('p', {}, evidence),
    el('p', {}, `The engine will do: ${action}.`),
    needsApproval !== undefined && el('p', {}, `It asks because ${needsApproval}.`),
  );
  return form !== undefined;
}
