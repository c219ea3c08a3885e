"""Change a device in the text of a settings file and leave everything else, comments too, as it is."""

import re
import tomllib


def with_device(text: str, table: str, *, kind: str, port: str) -> str:
    """Return the text with this kind and port in the table.

    Raises: ValueError when the text is no TOML, or is written in a way that a change line by line would spoil.
    """
    before = tomllib.loads(text)
    expected = {**before, table: {**before.get(table, {}), "kind": kind, "port": port}}
    lines = text.splitlines()
    named = [f'kind = "{kind}"', f'port = "{port}"']
    header = next((at for at, line in enumerate(lines) if _is_header(line, table)), None)
    if header is None:
        lines += ["", f"[{table}]", *named]
    else:
        end = next((at for at in range(header + 1, len(lines)) if lines[at].lstrip().startswith("[")), len(lines))
        kept = [line for line in lines[header + 1 : end] if not re.match(r"\s*(kind|port)\s*=", line)]
        lines[header + 1 : end] = [*named, *kept]
    changed = "\n".join(lines) + "\n"
    if tomllib.loads(changed) != expected:
        raise ValueError(f"[{table}] cannot be changed line by line")
    return changed


def _is_header(line: str, table: str) -> bool:
    return re.fullmatch(rf"\s*\[\s*{table}\s*\]\s*(#.*)?", line) is not None
