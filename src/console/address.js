/** What the page's address says is to be shown, so that it can be sent to somebody, kept, and opened anew. */
export function addressed() {
  const { federation, view, selected } = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  return { federation, view: view === 'graph' || view === 'matrix' ? view : undefined, selected };
}

/**
 * Has the address say what is shown.
 * @param {{ federation?: string, view?: string, selected?: string }} shown
 */
export function note(shown) {
  const said = new URLSearchParams(Object.entries(shown).filter(([, value]) => value !== undefined));
  const hash = `#${said}`;
  if (location.hash !== hash) history.replaceState(null, '', `${location.pathname}${location.search}${hash}`);
}
