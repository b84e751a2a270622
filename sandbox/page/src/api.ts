// The sandbox's control API, from the page.

// call sends a request and returns the answer. It throws an Error with the
// sandbox's own words when the sandbox refuses.
export async function call<Out>(method: string, path: string, body?: unknown): Promise<Out> {
  let answer: Response;
  try {
    answer = await fetch("/_sandbox/" + path, {
      method,
      headers: body === undefined ? {} : { "Content-Type": "application/json" },
      body: body === undefined ? null : JSON.stringify(body),
    });
  } catch {
    throw new Error("The sandbox does not answer. Is it still running?");
  }
  const out: unknown = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const told = (out as { error?: string }).error;
    throw new Error(told ? sentence(told) : `The sandbox answered ${answer.status}.`);
  }
  return out as Out;
}

export const post = <Out>(path: string, body: unknown) => call<Out>("POST", path, body);

// Result is what a person sees of something they did.
export interface Result {
  acked: boolean;
  error?: string;
  shown?: string;
  errors?: Record<string, string>;
}

// act does something as a person. It throws what Slack would show instead.
export async function act(path: string, body: object): Promise<Result> {
  const result = await post<Result>("slack/" + path, body);
  if (result.error) {
    throw new Error(result.shown ?? result.error);
  }
  return result;
}

export const words = (e: unknown) => (e instanceof Error ? e.message : String(e));

function sentence(text: string) {
  const t = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(t) ? t : t + ".";
}
