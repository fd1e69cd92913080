/** Reminds of the keys of a list. */
export function RowKeys() {
  return (
    <div className="tip">
      <span>
        <kbd>j</kbd> <kbd>k</kbd> rows
      </span>
      <span>
        <kbd>Enter</kbd> open
      </span>
      <span>
        <kbd>/</kbd> filter
      </span>
      <span>
        <kbd>?</kbd> all keys
      </span>
    </div>
  );
}
