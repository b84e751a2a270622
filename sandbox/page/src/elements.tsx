import { useContext, useEffect, useId, useRef, useState, type ReactNode } from "react";
import { Names, Plain, type Form } from "./blocks";
import { Dialog } from "./dialog";
import type { Block, Confirm, Element, Option } from "./types";

interface Use {
  element: Element;
  disabled: boolean;
  pending: boolean;
  onAct: (value?: unknown) => void;
}

// Control is an element that acts at once: in a message, a Home tab, or a modal
// outside its inputs.
export function Control({ element, disabled, pending, onAct }: Use) {
  const [asking, setAsking] = useState<{ value: unknown } | null>(null);
  const [chosen, setChosen] = useState(() => begin(element)); // stays to be seen
  const act = (value?: unknown) => {
    setChosen(value);
    onAct(value);
  };
  const use = (value?: unknown) => (element.confirm ? setAsking({ value }) : act(value));
  return (
    <>
      {element.type === "button" || element.type === "workflow_button" ? (
        <button type="button" className={"bk " + (element.style ?? "")} disabled={disabled} aria-busy={pending} onClick={() => press(element, use)}>
          <Plain text={element.text} />
          {pending && <Spinner />}
        </button>
      ) : element.type === "overflow" ? (
        <Overflow options={element.options ?? []} disabled={disabled} onChoose={use} />
      ) : (
        <Choice element={element} disabled={disabled} label={element.placeholder?.text ?? "Choose"} value={chosen} onEnter={use} />
      )}
      {asking && element.confirm && (
        <Ask
          confirm={element.confirm}
          onAnswer={(yes) => {
            setAsking(null);
            if (yes) {
              act(asking.value);
            }
          }}
        />
      )}
    </>
  );
}

// begin is what an element holds before anybody touches it.
const begin = (e: Element): unknown =>
  e.initial_option?.value ?? e.initial_options?.map((o) => o.value) ?? e.initial_date ?? e.initial_time ?? e.initial_date_time ?? e.initial_user ?? e.initial_channel ?? e.initial_conversation;

function press(element: Element, use: () => void) {
  if (element.url) {
    window.open(element.url, "_blank", "noopener");
  }
  use();
}

export const Spinner = () => <span className="spinner" aria-hidden="true" />;

// Ask is the confirmation that an element can want.
function Ask({ confirm, onAnswer }: { confirm: Confirm; onAnswer: (yes: boolean) => void }) {
  return (
    <Dialog title={<Plain text={confirm.title} />} onClose={() => onAnswer(false)} small>
      <div className="dialog-body">
        <Plain text={confirm.text} />
      </div>
      <footer className="dialog-foot">
        <button type="button" className="bk" onClick={() => onAnswer(false)}>
          <Plain text={confirm.deny} />
        </button>
        <button type="button" className={"bk " + (confirm.style ?? "primary")} onClick={() => onAnswer(true)} data-focus>
          <Plain text={confirm.confirm} />
        </button>
      </footer>
    </Dialog>
  );
}

// Menu is a button with a list that opens below it.
export function Menu({ label, children, items }: { label: string; children: ReactNode; items: { name: string; hint?: string; choose: () => void }[] }) {
  const [open, setOpen] = useState(false);
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!open) {
      return;
    }
    box.current?.querySelector<HTMLElement>("[role=menuitem]")?.focus();
    const outside = (e: Event) => !box.current?.contains(e.target as Node) && setOpen(false);
    document.addEventListener("pointerdown", outside);
    return () => document.removeEventListener("pointerdown", outside);
  }, [open]);
  const close = () => {
    setOpen(false);
    box.current?.querySelector("button")?.focus();
  };
  const onKeyDown = (e: React.KeyboardEvent) => {
    const all = [...(box.current?.querySelectorAll<HTMLElement>("[role=menuitem]") ?? [])];
    const at = all.indexOf(document.activeElement as HTMLElement);
    if (e.key === "Escape") {
      close();
    } else if (e.key === "ArrowDown") {
      all[(at + 1) % all.length]?.focus();
    } else if (e.key === "ArrowUp") {
      all.at(at - 1)?.focus();
    } else {
      return;
    }
    e.preventDefault();
    e.stopPropagation();
  };
  return (
    <div className="menu" ref={box} onKeyDown={open ? onKeyDown : undefined}>
      <button type="button" className="bk" aria-label={label} title={label} aria-haspopup="menu" aria-expanded={open} onClick={() => setOpen(!open)}>
        {children}
      </button>
      {open && (
        <div className="menu-list" role="menu" aria-label={label}>
          {items.map((item) => (
            <button
              key={item.name}
              type="button"
              role="menuitem"
              onClick={() => {
                close();
                item.choose();
              }}
            >
              {item.name}
              {item.hint && <small>{item.hint}</small>}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

function Overflow({ options, disabled, onChoose }: { options: Option[]; disabled: boolean; onChoose: (value: string) => void }) {
  return (
    <fieldset className="bare" disabled={disabled}>
      <Menu label="More" items={options.map((o) => ({ name: o.text.text, choose: () => onChoose(o.value) }))}>
        ⋯
      </Menu>
    </fieldset>
  );
}

// Field is an input block: a label, the element, a hint, and what is wrong with
// what was entered.
export function Field({ block, element, form, onDispatch }: { block: Block; element: Element; form?: Form | undefined; onDispatch: (value: unknown) => void }) {
  const id = useId();
  const error = form?.errors[block.block_id];
  const group = ["radio_buttons", "checkboxes", "multi_static_select"].includes(element.type);
  const label = (
    <>
      <Plain text={block.label} />
      {block.optional && <span className="optional"> (optional)</span>}
    </>
  );
  const described = [block.hint && id + "h", error && id + "e"].filter(Boolean).join(" ") || undefined;
  const Box = group ? "fieldset" : "div";
  return (
    <Box className={"field" + (error ? " wrong" : "")} aria-describedby={group ? described : undefined}>
      {group ? <legend>{label}</legend> : <label htmlFor={id}>{label}</label>}
      <Choice
        id={id}
        element={element}
        disabled={false}
        label={block.label?.text ?? ""}
        described={described}
        wrong={Boolean(error)}
        required={!block.optional}
        value={form?.value(block.block_id, element.action_id)}
        onEnter={(value) => {
          form?.enter(block.block_id, element.action_id, value);
          onDispatch(value);
        }}
      />
      {block.hint && (
        <p className="hint" id={id + "h"}>
          <Plain text={block.hint} />
        </p>
      )}
      {error && (
        <p className="trouble" id={id + "e"} role="alert">
          {error}
        </p>
      )}
    </Box>
  );
}

interface Entry {
  element: Element;
  disabled: boolean;
  label: string;
  id?: string;
  described?: string | undefined;
  wrong?: boolean;
  required?: boolean;
  value?: unknown;
  onEnter: (value: unknown) => void;
}

// Choice is everything that holds a value: texts, menus, dates, boxes to tick. It
// is the browser's own control, which people and screen readers know.
function Choice(entry: Entry) {
  const { element, onEnter, value, id, described, wrong, disabled, required } = entry;
  const chat = useContext(Names);
  const common = {
    id,
    disabled,
    required: required ?? false,
    "aria-describedby": described,
    "aria-invalid": wrong || undefined,
    "aria-label": id ? undefined : entry.label,
  };
  const text = typeof value === "string" || typeof value === "number" ? String(value) : "";
  const typed = (type: string, more = {}) => (
    <input
      {...common}
      {...more}
      type={type}
      value={text}
      placeholder={element.placeholder?.text}
      maxLength={element.max_length}
      autoComplete="off"
      onChange={(e) => onEnter(e.target.value)}
    />
  );
  const menu = (options: ReactNode) => (
    <select {...common} value={text} onChange={(e) => onEnter(e.target.value)}>
      <option value="">{element.placeholder?.text ?? "Choose…"}</option>
      {options}
    </select>
  );
  switch (element.type) {
    case "plain_text_input":
      return element.multiline ? (
        <textarea {...common} rows={4} value={text} placeholder={element.placeholder?.text} maxLength={element.max_length} onChange={(e) => onEnter(e.target.value)} />
      ) : (
        typed("text")
      );
    case "number_input":
      return typed("text", { inputMode: element.is_decimal_allowed ? "decimal" : "numeric" });
    case "email_text_input":
      return typed("text", { inputMode: "email" });
    case "url_text_input":
      return typed("text", { inputMode: "url" });
    case "datepicker":
      return typed("date");
    case "timepicker":
      return typed("time");
    case "datetimepicker":
      return (
        <input
          {...common}
          type="datetime-local"
          value={typeof value === "number" ? local(value) : ""}
          onChange={(e) => onEnter(e.target.value ? Math.floor(new Date(e.target.value).getTime() / 1000) : "")}
        />
      );
    case "static_select":
      return menu(element.option_groups ? element.option_groups.map((g) => <optgroup key={g.label.text} label={g.label.text}>{options(g.options)}</optgroup>) : options(element.options));
    case "users_select":
      return menu(chat?.users.filter((u) => !u.deleted).map((u) => <option key={u.id} value={u.id}>{u.name}</option>));
    case "channels_select":
    case "conversations_select":
      return menu(chat?.channels.filter((c) => !c.im && !c.archived).map((c) => <option key={c.id} value={c.id}>#{c.name}</option>));
    case "radio_buttons":
    case "checkboxes":
    case "multi_static_select":
      return <Boxes {...entry} />;
  }
  return <p className="hint">This page cannot show the element {element.type}.</p>;
}

const options = (list: Option[] = []) => list.map((o) => <option key={o.value} value={o.value}>{o.text.text}</option>);

// Boxes are options to tick, one or many.
function Boxes({ element, disabled, value, onEnter, wrong }: Entry) {
  const name = useId();
  const one = element.type === "radio_buttons";
  const list = element.options ?? element.option_groups?.flatMap((g) => g.options) ?? [];
  const chosen = one ? [value] : Array.isArray(value) ? value : [];
  return (
    <div className="ticks" aria-invalid={wrong || undefined}>
      {list.map((o) => (
        <label key={o.value}>
          <input
            type={one ? "radio" : "checkbox"}
            name={name}
            disabled={disabled}
            checked={chosen.includes(o.value)}
            onChange={(e) => onEnter(one ? o.value : e.target.checked ? [...chosen, o.value] : chosen.filter((v) => v !== o.value))}
          />
          <span>
            <Plain text={o.text} />
            {o.description && <small><Plain text={o.description} /></small>}
          </span>
        </label>
      ))}
    </div>
  );
}

// local is what datetime-local takes: this machine's time without a zone.
function local(seconds: number): string {
  const d = new Date(seconds * 1000);
  return new Date(d.getTime() - d.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}
