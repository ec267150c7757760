//! Status badge: a small SVG with a service's name and status, distinguished by shape and word.

use crate::status::Status;

/// The height of a badge, and the width of one letter of its font, in pixels.
const HIGH: usize = 20;
const LETTER: usize = 7;
/// Left and right of each text.
const PAD: usize = 6;

/// Badge as SVG. Its title has both texts, for screen readers.
#[must_use]
pub fn badge(name: &str, status: Status) -> String {
    // Each white or black on its colour is 4.5 to 1 or better.
    let (shape, ground, ink) = match status {
        Status::Up => ("●", "#047857", "#fff"),
        Status::Degraded => ("◐", "#ffd93d", "#1a1a2e"),
        Status::Down => ("▲", "#b91c1c", "#fff"),
        Status::Unknown => ("?", "#5f5f66", "#fff"),
    };
    let word = status.word();
    let width = |letters: usize| letters * LETTER + 2 * PAD;
    // The name is letters, digits and dashes: nothing that XML reads otherwise. The shape and a blank are two letters.
    let (left, right) = (width(name.len()), width(word.len() + 2));
    let all = left + right;
    let (middle, other) = (left / 2, left + right / 2);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{all}\" height=\"{HIGH}\" role=\"img\" aria-label=\"{name}: {word}\">\
         <title>{name}: {word}</title>\
         <rect width=\"{left}\" height=\"{HIGH}\" fill=\"#1a1a2e\"/><rect x=\"{left}\" width=\"{right}\" height=\"{HIGH}\" fill=\"{ground}\"/>\
         <g font-family=\"Menlo,Consolas,DejaVu Sans Mono,monospace\" font-size=\"11\" text-anchor=\"middle\">\
         <text x=\"{middle}\" y=\"14\" fill=\"#e8e8e8\">{name}</text><text x=\"{other}\" y=\"14\" fill=\"{ink}\">{shape} {word}</text></g></svg>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_shows_the_status_in_shape_and_word() {
        let mut shapes = Vec::new();
        for status in Status::ALL {
            let svg = badge("oven", status);
            assert!(svg.contains(&format!("oven: {}", status.word())), "{svg}");
            let (_, text) = svg.rsplit_once("\">").unwrap();
            shapes.push(text.chars().next().unwrap());
        }
        shapes.sort_unstable();
        shapes.dedup();
        assert_eq!(shapes.len(), Status::ALL.len());
    }
}
