const SVG = 'http://www.w3.org/2000/svg';

/**
 * An element with its attributes and children. Whatever is not a node becomes text: data never becomes markup.
 * @param {string} tag
 * @param {Record<string, unknown>} [attributes] `on…` are listeners; undefined and false are left out
 * @param {...unknown} children
 * @returns {HTMLElement}
 */
export function el(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? '' : String(value));
  }
  element.append(...children.flat().filter((child) => child !== undefined && child !== false));
  return element;
}

/** @param {string} id */
export const byId = (id) => document.getElementById(id);

/**
 * Puts other children into an element; what had the keyboard's focus has it afterwards, found by its data-key.
 * @param {HTMLElement} parent
 * @param {...unknown} children
 */
export function refill(parent, ...children) {
  const active = parent.contains(document.activeElement) ? document.activeElement.dataset.key : undefined;
  const open = new Set([...parent.querySelectorAll('details[open]')].map(({ dataset }) => dataset.key));
  parent.replaceChildren(...children.flat().filter((child) => child !== undefined && child !== false));
  for (const details of parent.querySelectorAll('details')) if (open.has(details.dataset.key)) details.open = true;
  if (active !== undefined) focusKey(parent, active);
}

/**
 * @param {ParentNode} parent
 * @param {string} key
 */
export function focusKey(parent, key) {
  parent.querySelector(`[data-key="${CSS.escape(key)}"]`)?.focus({ preventScroll: true });
}

/**
 * A link to another site, in a tab of its own; undefined unless it is http.
 * @param {string} address
 * @param {string} text
 */
export function externalLink(address, text) {
  if (!/^https?:\/\//.test(address)) return undefined;
  return el('a', { href: address, target: '_blank', rel: 'noopener noreferrer' }, text);
}
