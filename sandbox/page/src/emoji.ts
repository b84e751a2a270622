// The renderer has a table of all of Slack's emoji, and asks node-emoji first, whose
// own table of GitHub's names is as large again. Slack's names are all that we get.
// The renderer gives back the name of what it does not know: that is no emoji, but
// the minutes of a time (09:35:10), say, and stays as it was written.
export function emojify(text: string, { fallback }: { fallback: (name: string) => string }): string {
  return text.replace(/:((?:[^:]|::)+):/g, (whole, name: string) => {
    const sign = fallback(name);
    return sign === name ? whole : sign;
  });
}
