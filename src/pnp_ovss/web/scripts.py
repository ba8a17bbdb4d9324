"""What the page does in the browser itself (JavaScript)."""

GO_TO_ANSWER = """() => setTimeout(() => {
    const said = [...document.querySelectorAll('p.alert, p.status')].filter(place => place.textContent.trim());
    const place = said.find(place => place.className === 'alert') || said.pop();
    const top = place ? place.getBoundingClientRect().top : 0;
    if (top < 0 || top > innerHeight / 2) place.scrollIntoView();
}, 200)"""
"""Where the answer, or the error, is not on the upper half of the screen (a phone's), the page goes there, once it is drawn."""

ARROWS = """() => document.addEventListener('keydown', event => {
    const step = {ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1}[event.key];
    if (!step || event.target.type !== 'radio') return;
    const all = [...event.target.closest('fieldset').querySelectorAll('input[type=radio]')];
    const next = all[all.indexOf(event.target) + step];
    event.preventDefault();
    if (next) { next.focus(); next.click(); }
})"""
"""The arrow keys go through a group of choices, as everywhere: gradio gives each choice a group of its own."""
