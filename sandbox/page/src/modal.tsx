import { useState } from "react";
import { act, words } from "./api";
import { Blocks, type Form } from "./blocks";
import { Dialog } from "./dialog";
import { Spinner } from "./elements";
import type { View } from "./types";

type Values = Record<string, Record<string, unknown>>;

// Modal is the view on top of what somebody has open. What is typed stays here
// until it is sent off.
export function Modal({ view, me }: { view: View; me: string }) {
  const [entered, setEntered] = useState<Values>({});
  const [errors, setErrors] = useState<Record<string, string>>({});
  const [trouble, setTrouble] = useState("");
  const [pending, setPending] = useState(false);

  const form: Form = {
    errors,
    value: (block, action) => entered[block]?.[action] ?? initial(view.state[block]?.[action]),
    enter: (block, action, value) => {
      setEntered((old) => ({ ...old, [block]: { ...old[block], [action]: value } }));
      setErrors(({ [block]: _, ...rest }) => rest);
    },
  };
  const run = async (job: () => Promise<void>) => {
    setPending(true);
    setTrouble("");
    try {
      await job();
    } catch (e) {
      setTrouble(words(e));
    } finally {
      setPending(false);
    }
  };
  const submit = () =>
    run(async () => {
      const result = await act("submit", { user: me, view_id: view.id, values: known(view, entered) });
      setErrors(result.errors ?? {});
    });
  const close = () => pending || run(async () => void (await act("close", { user: me, view_id: view.id })));

  return (
    <Dialog title={view.title ?? ""} onClose={close}>
      <form
        noValidate
        onSubmit={(e) => {
          e.preventDefault();
          if (view.submit && !pending) {
            void submit();
          }
        }}
        onKeyDown={(e) => e.key === "Enter" && (e.ctrlKey || e.metaKey) && e.currentTarget.requestSubmit()}
      >
        <div className="dialog-body">
          <Blocks
            blocks={view.blocks}
            surface={{
              form,
              act: async (block_id, action_id, value) => void (await act("click", { user: me, view_id: view.id, block_id, action_id, value })),
            }}
          />
          {trouble && (
            <p className="trouble" role="alert">
              {trouble}
            </p>
          )}
        </div>
        <footer className="dialog-foot">
          <button type="button" className="bk" disabled={pending} onClick={close}>
            Close
          </button>
          {view.submit && (
            <button type="submit" className="bk primary" disabled={pending} aria-busy={pending}>
              {view.submit}
              {pending && <Spinner />}
            </button>
          )}
        </footer>
      </form>
    </Dialog>
  );
}

// known leaves out what was entered into blocks that an update took away.
function known(view: View, entered: Values): Values {
  const out: Values = {};
  for (const b of view.blocks) {
    const values = entered[b.block_id];
    if (values && b.element && b.element.action_id in values) {
      out[b.block_id] = { [b.element.action_id]: values[b.element.action_id] };
    }
  }
  return out;
}

// initial is an element's value as the view's state keeps it.
function initial(state: Record<string, unknown> | undefined): unknown {
  for (const [name, value] of Object.entries(state ?? {})) {
    if (name === "selected_option") {
      return (value as { value?: string } | null)?.value ?? "";
    }
    if (name === "selected_options") {
      return ((value as { value: string }[] | null) ?? []).map((o) => o.value);
    }
    if (name !== "type") {
      return value ?? "";
    }
  }
  return "";
}
