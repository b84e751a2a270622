import { useEffect, useId, useRef, type ReactNode } from "react";

// Dialog is the browser's own modal dialog: it keeps the focus, gives it back, and
// closes with Escape. What has data-focus is focused first.
export function Dialog({ title, onClose, small, children }: { title: ReactNode; onClose: () => void; small?: boolean; children: ReactNode }) {
  const id = useId();
  const ref = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const dialog = ref.current;
    const before = document.activeElement;
    if (dialog && !dialog.open) {
      dialog.showModal();
    }
    const first = dialog?.querySelector<HTMLElement>("[data-focus], .dialog-body :is(input, select, textarea)");
    first?.focus();
    return () => {
      dialog?.close();
      if (before instanceof HTMLElement) {
        before.focus();
      }
    };
  }, []);
  return (
    <dialog
      ref={ref}
      className={small ? "small" : ""}
      aria-labelledby={id}
      onCancel={(e) => {
        e.preventDefault();
        onClose();
      }}
      onKeyDown={(e) => {
        e.stopPropagation();
        if (e.key === "Escape") {
          e.preventDefault(); // Chromium would ask twice, and then close it whatever is answered
          onClose();
        }
      }}
    >
      <header className="dialog-head">
        <h2 id={id}>{title}</h2>
        <button type="button" className="close" aria-label="Close" onClick={onClose}>
          ✕
        </button>
      </header>
      {children}
    </dialog>
  );
}
