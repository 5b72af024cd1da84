//! Colours and glyphs: three themes, each in 256 colours, in 16, and without colour.
//!
//! Must not: read the environment; the caller says what the terminal can do.

use crate::model::{MarkKind, Outcome};
use ratatui::style::{Color, Modifier, Style};

/// How many colours a terminal shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Depth {
    /// The sixteen ANSI colours.
    Sixteen,
    /// The 256 indexed colours of xterm.
    #[default]
    Indexed,
}

impl Depth {
    /// What `$TERM` and `$COLORTERM` promise: 256 colours unless the terminal is one of the
    /// few that show sixteen (`linux`, `ansi`, `vt*`, plain `xterm` and `screen`).
    pub fn of_terminal(term: &str, colorterm: &str) -> Depth {
        let plain = ["linux", "ansi", "xterm", "screen", "rxvt", "cygwin"].contains(&term) || term.starts_with("vt");
        if plain && colorterm.is_empty() { Depth::Sixteen } else { Depth::Indexed }
    }
}

/// A look: what colour means what. One accent; a colour per CPU mode, kept everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Theme {
    /// Its name, as given on the command line.
    pub name: &'static str,
    /// Plain text.
    pub text: Style,
    /// Labels and units beside values.
    pub dim: Style,
    /// Borders, axes, empty tracks.
    pub faint: Style,
    /// Values that matter most.
    pub strong: Style,
    /// The one accent: focus, completed requests, keys.
    pub accent: Style,
    /// All is well.
    pub good: Style,
    /// Look here.
    pub warn: Style,
    /// Failed.
    pub bad: Style,
    /// CPU modes in the order us sy ni si hi wa st.
    pub cpu: [Style; 7],
    /// Heat from little to much; empty when shades have to do.
    pub heat: Vec<Color>,
    /// Backgrounds of the time selection, of captures and of the cursor's row.
    pub select: Style,
    /// The selected row of a table.
    pub row: Style,
    /// The cursor line over charts.
    pub cursor: Style,
    /// Flame graph frames in user code; neighbours alternate.
    pub flame_user: Vec<Style>,
    /// Flame graph frames in the kernel; neighbours alternate.
    pub flame_kernel: Vec<Style>,
    /// Flame graph frames that match a search.
    pub flame_match: Style,
    /// Flame graph frames that cost more than in what they are compared with, from a little to much.
    pub more: Vec<Style>,
    /// Those that cost less.
    pub less: Vec<Style>,
    /// Those whose difference may be chance.
    pub same: Style,
    /// Phases of a request, in the order of [`crate::model::Phase::ALL`]: lookup, connect, TLS,
    /// first byte, body. None is that of a CPU mode.
    pub phase: [Style; 5],
    /// Answers that a check refused.
    pub check: Style,
    /// Whether colour must not carry meaning alone.
    pub mono: bool,
}

/// Names of the themes there are.
pub const THEMES: &[&str] = &["default", "colour-blind", "mono"];

impl Default for Theme {
    fn default() -> Theme {
        Theme::pick("default", false).unwrap_or_else(|_| Theme::mono())
    }
}

impl Theme {
    /// The theme of a name, or why there is none. `no_color` (the NO_COLOR convention) wins
    /// over any name.
    pub fn pick(name: &str, no_color: bool) -> Result<Theme, String> {
        if no_color {
            return Ok(Theme::mono());
        }
        match name {
            "default" | "" => Ok(Theme::standard()),
            "colour-blind" | "color-blind" => Ok(Theme::colour_blind()),
            "mono" => Ok(Theme::mono()),
            other => Err(format!("`{other}` is not a theme; there are {}", THEMES.join(", "))),
        }
    }

    /// The theme in the colours a terminal has.
    pub fn with_depth(self, depth: Depth) -> Theme {
        if depth == Depth::Indexed || self.mono {
            return self;
        }
        let safe = self.name == "colour-blind";
        let c = |c: Color| Style::new().fg(c);
        let filled = |bg: Color| Style::new().fg(Color::Black).bg(bg);
        Theme {
            text: Style::new(),
            dim: Style::new(),
            faint: c(Color::DarkGray),
            strong: Style::new().add_modifier(Modifier::BOLD),
            accent: c(Color::Cyan),
            good: c(if safe { Color::LightBlue } else { Color::Green }),
            warn: c(Color::Yellow),
            bad: c(if safe { Color::LightYellow } else { Color::LightRed }),
            cpu: [
                if safe { Color::Cyan } else { Color::Green },
                Color::Red,
                Color::LightCyan,
                Color::Magenta,
                Color::LightMagenta,
                Color::Yellow,
                Color::Blue,
            ]
            .map(c),
            heat: vec![],
            select: Style::new().bg(Color::Blue),
            row: Style::new().add_modifier(Modifier::REVERSED),
            cursor: c(Color::White),
            flame_user: vec![filled(Color::Yellow), filled(Color::Red)],
            flame_kernel: vec![filled(Color::Blue), filled(Color::Cyan)],
            flame_match: filled(Color::Magenta),
            more: vec![filled(Color::Yellow), filled(Color::Red)],
            less: vec![filled(Color::Cyan), filled(Color::Blue)],
            same: filled(Color::Gray),
            phase: [Color::White, Color::Yellow, Color::LightMagenta, Color::LightBlue, Color::Cyan].map(c),
            check: c(Color::LightMagenta),
            ..self
        }
    }

    fn standard() -> Theme {
        let filled = |bg: u8| Style::new().fg(Color::Indexed(234)).bg(Color::Indexed(bg));
        Theme {
            name: "default",
            text: Style::new(),
            dim: fg(246),
            faint: fg(240),
            strong: Style::new().add_modifier(Modifier::BOLD),
            accent: fg(80),
            good: fg(114),
            warn: fg(221),
            bad: fg(203),
            // us green, sy red, si magenta, wa yellow, st blue; ni and hi in kin tones
            cpu: [114, 167, 72, 170, 139, 221, 68].map(fg),
            heat: [236, 53, 54, 90, 126, 161, 197, 203, 209, 215, 222, 230].map(Color::Indexed).to_vec(),
            select: Style::new().bg(Color::Indexed(237)),
            row: Style::new().bg(Color::Indexed(238)).add_modifier(Modifier::BOLD),
            cursor: fg(255),
            flame_user: [215, 179, 209, 173].map(filled).to_vec(),
            flame_kernel: [110, 67, 74, 103].map(filled).to_vec(),
            flame_match: Style::new().fg(Color::Indexed(16)).bg(Color::Indexed(176)),
            // Orange against blue: told apart with any colour vision, so every theme has them.
            more: [223, 215, 208].map(filled).to_vec(),
            less: [153, 111, 69].map(filled).to_vec(),
            same: filled(246),
            phase: [250, 179, 175, 75, 153].map(fg),
            check: fg(176),
            mono: false,
        }
    }

    /// After Okabe and Ito, "Color Universal Design": no pair is told apart by red against
    /// green alone.
    fn colour_blind() -> Theme {
        let filled = |bg: u8| Style::new().fg(Color::Indexed(234)).bg(Color::Indexed(bg));
        Theme {
            name: "colour-blind",
            accent: fg(74),
            good: fg(36),
            warn: fg(227),
            bad: fg(208),
            cpu: [36, 166, 79, 175, 182, 227, 32].map(fg),
            heat: [236, 17, 18, 60, 61, 67, 102, 108, 143, 185, 221, 229].map(Color::Indexed).to_vec(),
            flame_user: [221, 179, 185, 222].map(filled).to_vec(),
            flame_kernel: [74, 67, 110, 68].map(filled).to_vec(),
            flame_match: Style::new().fg(Color::Indexed(16)).bg(Color::Indexed(255)),
            phase: [250, 214, 182, 32, 117].map(fg),
            check: fg(175),
            ..Theme::standard()
        }
    }

    fn mono() -> Theme {
        let plain = Style::new();
        let bold = plain.add_modifier(Modifier::BOLD);
        let dim = plain.add_modifier(Modifier::DIM);
        let reversed = plain.add_modifier(Modifier::REVERSED);
        Theme {
            name: "mono",
            text: plain,
            dim: plain,
            faint: dim,
            strong: bold,
            accent: bold,
            good: plain,
            warn: bold,
            bad: bold.add_modifier(Modifier::UNDERLINED),
            cpu: [plain; 7],
            heat: vec![],
            select: plain.add_modifier(Modifier::UNDERLINED),
            row: reversed,
            cursor: bold,
            flame_user: vec![reversed, reversed.add_modifier(Modifier::DIM)],
            flame_kernel: vec![
                reversed.add_modifier(Modifier::UNDERLINED),
                reversed.add_modifier(Modifier::DIM | Modifier::UNDERLINED),
            ],
            flame_match: bold,
            more: vec![reversed.add_modifier(Modifier::BOLD)],
            less: vec![reversed.add_modifier(Modifier::UNDERLINED)],
            same: reversed.add_modifier(Modifier::DIM),
            phase: [plain; 5],
            check: bold.add_modifier(Modifier::UNDERLINED),
            mono: true,
        }
    }

    /// The colour of a way a request ended, by its class.
    pub fn outcome(&self, outcome: Outcome) -> Style {
        match outcome {
            Outcome::Status(200..=299) => self.good,
            Outcome::Status(100..=399) => self.accent,
            Outcome::Status(400..=499) => self.warn,
            Outcome::Check(_) => self.check,
            _ => self.bad,
        }
    }

    /// The background of heat, `level` from 0 (something) to 1 (the most); `None` when the
    /// theme has no scale and shades have to do.
    pub fn heat(&self, level: f64) -> Option<Color> {
        let last = self.heat.len().checked_sub(1)?;
        let n = (level.clamp(0.0, 1.0) * last as f64).round() as usize;
        self.heat.get(n.min(last)).copied()
    }

    /// The style of a difference: `ratio` is after as a multiple of before, `None` where there was
    /// nothing before. Deepest at twice or half.
    pub fn difference(&self, ratio: Option<f64>) -> Style {
        let log = ratio.map_or(1.0, |r| if r > 0.0 { r.log2() } else { -1.0 });
        let shades = if log >= 0.0 { &self.more } else { &self.less };
        let n = (log.abs().min(1.0) * shades.len() as f64) as usize;
        shades.get(n.min(shades.len().saturating_sub(1))).copied().unwrap_or(self.same)
    }

    /// The shade of heat where there is no colour.
    pub fn shade(level: f64) -> char {
        const SHADES: [char; 4] = ['░', '▒', '▓', '█'];
        SHADES[((level.clamp(0.0, 1.0) * 4.0) as usize).min(3)]
    }

    /// The glyph of a phase of a request in a bar, by its place in [`Theme::phase`].
    pub fn phase_glyph(&self, phase: usize) -> char {
        const GLYPHS: [char; 5] = ['░', '▒', '▚', '█', '▓'];
        if self.mono { GLYPHS[phase.min(4)] } else { '█' }
    }

    /// The glyph of a CPU mode in a bar, by its place in [`Theme::cpu`]: one for all where
    /// colours tell them apart.
    pub fn cpu_glyph(&self, mode: usize) -> char {
        const GLYPHS: [char; 7] = ['█', '▓', '▉', '▒', '▚', '░', '▞'];
        if self.mono { GLYPHS[mode.min(6)] } else { '█' }
    }
}

impl Theme {
    /// The glyph of a mark and its style: each kind its own, so that a change of the rate is not
    /// taken for a note of the user's.
    pub fn mark(&self, kind: MarkKind) -> (char, Style) {
        match kind {
            MarkKind::User => ('⚑', self.accent),
            MarkKind::Phase => ('▶', self.text),
            MarkKind::Rate => ('±', self.good),
            MarkKind::Pause => ('❚', self.warn),
            MarkKind::Verdict => ('◆', self.strong),
            MarkKind::Trigger => ('⚑', self.warn),
        }
    }
}

fn fg(n: u8) -> Style {
    Style::new().fg(Color::Indexed(n))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_color_wins_and_unknown_names_are_told() {
        assert_eq!(Theme::pick("default", true).unwrap().name, "mono");
        assert!(Theme::pick("solarised", false).unwrap_err().contains("colour-blind"));
        for name in THEMES {
            assert_eq!(Theme::pick(name, false).unwrap().name, *name);
        }
    }

    #[test]
    fn mono_uses_no_colour_and_sixteen_no_indexed_one() {
        let fields = |t: &Theme| {
            let mut all = vec![t.text, t.dim, t.faint, t.strong, t.accent, t.good, t.warn, t.bad, t.select, t.row];
            all.extend(t.cpu);
            all.extend(t.phase);
            all.push(t.check);
            all.extend(t.flame_user.iter().chain(&t.flame_kernel));
            all.extend(t.heat.iter().map(|c| Style::new().bg(*c)));
            all
        };
        assert!(fields(&Theme::mono()).iter().all(|s| s.fg.is_none() && s.bg.is_none()));
        for name in ["default", "colour-blind"] {
            let plain = Theme::pick(name, false).unwrap().with_depth(Depth::Sixteen);
            let indexed = |c: Option<Color>| matches!(c, Some(Color::Indexed(_) | Color::Rgb(..)));
            assert!(!fields(&plain).iter().any(|s| indexed(s.fg) || indexed(s.bg)), "{name}");
        }
    }

    #[test]
    fn the_colours_of_cpu_modes_are_distinct() {
        for name in ["default", "colour-blind"] {
            for depth in [Depth::Indexed, Depth::Sixteen] {
                let t = Theme::pick(name, false).unwrap().with_depth(depth);
                let mut seen: Vec<String> = t.cpu.iter().map(|s| format!("{:?}", s.fg)).collect();
                seen.sort();
                seen.dedup();
                assert_eq!(seen.len(), 7, "{name} {depth:?}");
            }
        }
    }

    #[test]
    fn plain_terminals_are_known_by_their_name() {
        assert_eq!(Depth::of_terminal("linux", ""), Depth::Sixteen);
        assert_eq!(Depth::of_terminal("xterm", "truecolor"), Depth::Indexed);
        assert_eq!(Depth::of_terminal("tmux-256color", ""), Depth::Indexed);
    }
}
