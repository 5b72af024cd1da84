//! A flame graph as SVG, drawn by inferno from folded lines.
//!
//! Names of functions and threads come from whatever ran on the machine. inferno escapes
//! markup, but reads meaning into some names and copies characters that XML forbids, so names
//! are mended here first; what a reader sees of an ordinary name is the name.
//!
//! Must not: read a profile; it takes the folded lines of whatever was selected.

use inferno::flamegraph::color::{Color, PaletteMap};
use inferno::flamegraph::{Options, TextTruncateDirection, from_lines};
use std::collections::BTreeMap;

/// Why there is no picture.
#[derive(Debug, thiserror::Error)]
pub enum SvgError {
    /// No line has any weight.
    #[error(
        "no stacks to draw: nothing was sampled there; choose a stretch with a capture in it, or take one with `c` or --capture AT,FOR"
    )]
    Empty,
    /// A line is not `frame;…;frame weight`.
    #[error("line {line} of the folded stacks is not `frame;…;frame weight`: {text}")]
    Line {
        /// Which line, from 1.
        line: usize,
        /// How it begins.
        text: String,
    },
    /// The weights do not fit into 64 bits.
    #[error("the weights of the folded stacks add up to more than 64 bits hold; draw a shorter stretch")]
    TooHeavy,
    /// inferno failed.
    #[error("inferno could not draw the flame graph: {0}")]
    Drawing(#[from] std::io::Error),
}

/// Draws folded lines (`thread;outermost;…;innermost weight`, kernel frames marked `_[k]`).
/// `unit` is that of the weights, shown as it is. The same lines give the same bytes.
pub fn flame_svg(folded: &[String], title: &str, subtitle: &str, unit: &str) -> Result<String, SvgError> {
    let mut stacks: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for (n, line) in folded.iter().enumerate() {
        let wrong = || SvgError::Line { line: n + 1, text: crate::model::clean(line, 60) };
        let (stack, weight) = line.rsplit_once(' ').ok_or_else(wrong)?;
        let weight: u64 = weight.parse().map_err(|_| wrong())?;
        if weight > 0 {
            let frames = stack.split(';').enumerate().map(|(depth, name)| mended(name, depth == 0)).collect();
            let sum = stacks.entry(frames).or_default();
            *sum = sum.checked_add(weight).ok_or(SvgError::TooHeavy)?;
        }
    }
    let total = stacks.values().try_fold(0u64, |sum, &w| sum.checked_add(w)).ok_or(SvgError::TooHeavy)?;
    if total == 0 {
        return Err(SvgError::Empty);
    }
    let mut palette = PaletteMap::default();
    // inferno's own box below everything, `all`; it would be coloured at random.
    palette.insert("", Color::new(200, 200, 200));
    for (depth, name) in stacks.keys().flat_map(|s| s.iter().enumerate()) {
        palette.insert(name, colour(name, depth == 0));
    }
    let lines: Vec<String> = stacks.iter().map(|(frames, w)| format!("{} {w}", frames.join(";"))).collect();

    let mut options = Options::default();
    options.title = printable(title);
    options.subtitle = (!subtitle.is_empty()).then(|| printable(subtitle));
    options.count_name = printable(unit);
    options.palette_map = Some(&mut palette);
    options.text_truncate_direction = TextTruncateDirection::Right;
    // inferno sorts whole lines, which tears `a` apart where `a b` lies between `a` and `a;c`.
    // It takes any order only as a flame chart, and reads that from the end.
    options.flame_chart = true;
    let mut svg = Vec::new();
    from_lines(&mut options, lines.iter().rev().map(String::as_str), &mut svg)?;
    Ok(String::from_utf8_lossy(&svg).into_owned())
}

/// A name that inferno takes for a name and XML for text.
fn mended(name: &str, first: bool) -> String {
    let mut name = printable(name).trim().to_string();
    if name.is_empty() {
        name.push_str("[unnamed]");
    }
    // `f 12` before the weight would be read as a second weight; `# x` as a comment.
    let number = name.rsplit_once(' ').is_some_and(|(_, last)| last.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    if number || (first && name.starts_with("# ")) {
        name = name.replace(' ', "\u{a0}");
    }
    name
}

/// `text` without the characters XML 1.0 (section 2.2) forbids and those that reorder or hide
/// others.
pub(super) fn printable(text: &str) -> String {
    crate::model::clean(text, 4096).replace(['\u{fffe}', '\u{ffff}'], "·")
}

/// Threads grey, the kernel blue, user space red to yellow: by a hash of the name, so that a
/// function has its colour in every picture.
fn colour(name: &str, thread: bool) -> Color {
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let [a, b, ..] = (hash >> 32).to_le_bytes();
    // Of the 256 values of a byte, a part that keeps dark text on the box readable.
    let part = |of: u8, low: u8, width: u8| low + (u16::from(of) * u16::from(width) / 255).to_le_bytes()[0];
    match name {
        _ if name.ends_with("_[k]") => Color::new(part(a, 110, 50), part(b, 155, 45), part(a, 205, 45)),
        _ if thread => Color::new(part(a, 190, 25), part(a, 190, 25), part(a, 190, 25)),
        _ => Color::new(part(a, 215, 40), part(b, 95, 125), part(a, 50, 40)),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn draw(lines: &[&str]) -> Result<String, SvgError> {
        let lines: Vec<String> = lines.iter().map(|l| l.to_string()).collect();
        flame_svg(&lines, "nginx", "3 s from 0:03.0", "ns")
    }

    /// Tags in pairs, attributes quoted, entities known, no forbidden character.
    pub(in super::super) fn well_formed(svg: &str) -> Result<(), String> {
        let mut reader = quick_xml::Reader::from_str(svg);
        reader.config_mut().check_end_names = true;
        let mut open = 0i64;
        loop {
            match reader.read_event().map_err(|e| e.to_string())? {
                quick_xml::events::Event::Start(e) => {
                    open += 1;
                    e.attributes().try_for_each(|a| a.map(drop)).map_err(|e| e.to_string())?;
                }
                quick_xml::events::Event::Empty(e) => {
                    e.attributes().try_for_each(|a| a.map(drop)).map_err(|e| e.to_string())?;
                }
                quick_xml::events::Event::End(_) => open -= 1,
                quick_xml::events::Event::GeneralRef(r) => {
                    let known = ["lt", "gt", "amp", "quot", "apos"].iter().any(|k| r[..] == *k.as_bytes());
                    (known || r.starts_with(b"#")).then_some(()).ok_or("unknown entity")?;
                }
                quick_xml::events::Event::Eof => break,
                _ => {}
            }
        }
        let allowed = |c: char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{fffd}' | '\u{10000}'..);
        match (open, svg.chars().find(|&c| !allowed(c))) {
            (0, None) => Ok(()),
            (n, c) => Err(format!("{n} tags open, forbidden {c:?}")),
        }
    }

    #[test]
    fn kernel_user_and_threads_have_colours_of_their_own_and_the_bytes_repeat() {
        let svg = draw(&["web;main;write_[k] 5", "web;main 3"]).unwrap();
        assert_eq!(well_formed(&svg), Ok(()));
        assert!(svg == draw(&["web;main 3", "web;main;write_[k] 5"]).unwrap());
        for text in ["<title>write (5 ns, 62.50%)</title>", "<title>main (8 ns, 100.00%)</title>", "3 s from 0:03.0"] {
            assert!(svg.contains(text), "{text}");
        }
        for n in 0..500 {
            let (kernel, user) = (colour(&format!("f{n}_[k]"), false), colour(&format!("f{n}"), false));
            assert!(kernel.b > kernel.r && user.r > user.b);
            let thread = colour(&format!("f{n}"), true);
            assert!(thread.r == thread.b && thread.r == thread.g);
        }
    }

    #[test]
    fn markup_stays_text() {
        let name = "<script>alert('x')</script>&amp;\"]]>--> \x1b[2J\u{0}\u{ffff}\u{202e}";
        let line = format!("{name};{name} 4");
        let lines = vec![line];
        let svg = flame_svg(&lines, name, name, name).unwrap();
        assert_eq!(well_formed(&svg), Ok(()));
        assert!(!svg.contains("<script>alert"));
        assert!(svg.contains("&lt;script&gt;alert"));
    }

    #[test]
    fn names_that_inferno_would_read_otherwise_are_drawn() {
        let svg = draw(&["# a;work 12 5", "b;f 1.5 5", "c 2", "c x 3", "c!;d 4", "c;e 1"]).unwrap();
        assert_eq!(well_formed(&svg), Ok(()));
        for text in ["#\u{a0}a (5 ", "work\u{a0}12 (5 ", "f\u{a0}1.5 (5 ", "c (3 ns", "c x (3 ns", "all (20 ns"] {
            assert!(svg.contains(text), "{text}");
        }
    }

    #[test]
    fn nothing_to_draw_says_what_to_do() {
        assert!(matches!(draw(&[]), Err(SvgError::Empty)));
        assert!(draw(&["a;b 0"]).unwrap_err().to_string().contains("--capture"));
        assert!(matches!(draw(&["a 1", "a;b"]), Err(SvgError::Line { line: 2, .. })));
        assert!(matches!(draw(&["a -1"]), Err(SvgError::Line { line: 1, .. })));
        let heavy = format!("a {}", u64::MAX);
        assert!(matches!(draw(&[&heavy, "b 1"]), Err(SvgError::TooHeavy)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn any_names_make_well_formed_xml(names in prop::collection::vec(".{0,12}", 1..8), weight in 1u64..9) {
            let line = format!("{} {weight}", names.join(";"));
            let svg = flame_svg(&[line.clone(), line], &names[0], &names[0], &names[0]).unwrap();
            prop_assert_eq!(well_formed(&svg), Ok(()));
        }
    }
}
