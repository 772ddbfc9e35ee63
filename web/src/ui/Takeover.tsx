import { CLOSE_CODES } from "../generated/wire";

export function Takeover({ onTakeBack }: { onTakeBack: () => void }) {
  return (
    <div className="takeover" role="alertdialog" aria-labelledby="takeover-title">
      <div>
        <h2 id="takeover-title" data-testid="takeover">
          {CLOSE_CODES.Preempted.reason}
        </h2>
        <p>A pod plays for one listener at a time. This tab stays quiet.</p>
        <button type="button" onClick={onTakeBack}>
          Take it back
        </button>
      </div>
    </div>
  );
}
