// The renderer has a table of all of Slack's emoji, and asks node-emoji first, whose
// own table of GitHub's names is as large again. Slack's names are all that we get.
export function emojify(text: string, { fallback }: { fallback: (name: string) => string }): string {
  return text.replace(/:((?:[^:]|::)+):/g, (_, name: string) => fallback(name));
}
