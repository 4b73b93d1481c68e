// PURE. The path of an entity in the address of a link.

/** Without a slash in front; the Python client sends whole addresses, `amqps://host/queue`. */
export function pathOf(address: unknown): string {
  const text = (typeof address === 'string' ? address : '').replace(/^[a-z]+:\/\/[^/]*/i, '');
  try {
    return decodeURIComponent(text).replace(/^\/+/, '');
  } catch {
    return text.replace(/^\/+/, '');
  }
}
