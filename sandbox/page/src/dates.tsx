import { createContext, useContext } from "react";

// Ahead is how many ms the sandbox's clock is ahead: "today" is the sandbox's.
export const Ahead = createContext(0);

const style = (o: Intl.DateTimeFormatOptions) => {
  const f = new Intl.DateTimeFormat(undefined, o);
  return (d: Date) => f.format(d);
};

// formats are Slack's tokens, in the reader's language and zone.
const formats: Record<string, (d: Date) => string> = {
  date_num: style({ year: "numeric", month: "2-digit", day: "2-digit" }),
  date: style({ year: "numeric", month: "long", day: "numeric" }),
  date_short: style({ year: "numeric", month: "short", day: "numeric" }),
  date_long: style({ weekday: "long", year: "numeric", month: "long", day: "numeric" }),
  time: style({ hour: "2-digit", minute: "2-digit" }),
  time_secs: style({ hour: "2-digit", minute: "2-digit", second: "2-digit" }),
};

// When is a date as Slack shows it.
export function When({ seconds, format, fallback }: { seconds: number; format: string; fallback: string }) {
  const ahead = useContext(Ahead);
  const at = new Date(seconds * 1000);
  if (Number.isNaN(at.getTime())) {
    return <>{fallback}</>;
  }
  const text = format.replace(/\{(\w+?)(_pretty)?\}/g, (token: string, name: string, pretty?: string) => {
    const day = pretty && nearby(at, new Date(Date.now() + ahead));
    return day || (formats[name]?.(at) ?? token);
  });
  return (
    <time dateTime={at.toISOString()} title={fallback}>
      {text}
    </time>
  );
}

// nearby names the days around now.
function nearby(at: Date, now: Date): string {
  const day = (d: Date) => Date.UTC(d.getFullYear(), d.getMonth(), d.getDate());
  return { [-86_400_000]: "yesterday", 0: "today", 86_400_000: "tomorrow" }[day(at) - day(now)] ?? "";
}
