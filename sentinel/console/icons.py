"""Draw the icons of the pages as inline SVG. No emoji and no icon font: the boxes' fonts lack them."""

_PATHS = {
    "ok": '<path d="M10 34l14 14 30-34"/>',
    "stop": '<path d="M14 14l36 36M50 14L14 50"/>',
    "hand": '<path d="M20 34V16a4 4 0 018 0v14V12a4 4 0 018 0v18V14a4 4 0 018 0v18-10a4 4 0 018 0v18'
    'c0 12-8 18-17 18s-13-5-17-12l-7-12c-2-4 4-7 7-4z"/>',
    "card": '<rect x="6" y="14" width="52" height="36" rx="4"/><circle cx="20" cy="29" r="5"/>'
    '<path d="M12 42c2-6 14-6 16 0M36 26h14M36 36h14"/>',
    "face": '<path d="M6 18V6h12M46 6h12v12M58 46v12H46M18 58H6V46"/><circle cx="32" cy="28" r="10"/>'
    '<path d="M16 52c2-14 30-14 32 0"/>',
    "staff": '<circle cx="32" cy="20" r="10"/><path d="M12 56c0-24 40-24 40 0zM22 14c4-8 16-8 20 0"/>',
    "fire": '<path d="M34 6c2 12 16 16 16 32a18 18 0 01-36 0c0-8 5-12 8-16 1 6 4 8 6 8 2-8 2-16 6-24z"/>',
    "link": '<path d="M8 28a34 34 0 0148 0M17 37a21 21 0 0130 0M26 46a9 9 0 0112 0"/><circle cx="32" cy="54" r="2"/>',
    "warning": '<path d="M32 8l26 46H6zM32 24v14M32 46v1"/>',
}


def icon(name: str) -> str:
    """Return one icon as an SVG element; decoration beside its word, so hidden from readers of the screen."""
    return (
        f'<svg class="icon" viewBox="0 0 64 64" aria-hidden="true" focusable="false" fill="none" '
        f'stroke="currentColor" stroke-width="5" stroke-linecap="round" stroke-linejoin="round">{_PATHS[name]}</svg>'
    )
