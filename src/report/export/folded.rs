//! Folded lines, and the flame graph that is drawn of them.
//!
//! Must not: fold; the profile does.

use super::{Chosen, Export, ExportError};

/// `thread;outermost;…;innermost weight` a line.
pub(super) struct Folded;

impl Export for Folded {
    fn name(&self) -> &'static str {
        "folded"
    }

    fn about(&self) -> &'static str {
        "folded stacks, a line each: flamegraph.pl, inferno-flamegraph, speedscope"
    }

    fn ending(&self) -> &'static str {
        "folded"
    }

    fn write(&self, chosen: &Chosen<'_>) -> Result<Vec<u8>, ExportError> {
        let lines = chosen.timeline.profile().folded(chosen.filter, true);
        if lines.is_empty() { Err(ExportError::Empty) } else { Ok((lines.join("\n") + "\n").into_bytes()) }
    }
}

/// A flame graph, drawn by inferno.
pub(super) struct Svg;

impl Export for Svg {
    fn name(&self) -> &'static str {
        "svg"
    }

    fn about(&self) -> &'static str {
        "flame graph: any browser"
    }

    fn ending(&self) -> &'static str {
        "svg"
    }

    fn write(&self, chosen: &Chosen<'_>) -> Result<Vec<u8>, ExportError> {
        let profile = chosen.timeline.profile();
        let lines = profile.folded(chosen.filter, true);
        if lines.is_empty() {
            return Err(ExportError::Empty);
        }
        let weights = profile.weights(chosen.filter);
        let span = chosen.span();
        let event = weights.event.as_deref().map(|e| format!("{}, ", crate::model::clean(e, 60))).unwrap_or_default();
        let subtitle = format!("{event}{} to {}", span.from, span.to);
        Ok(crate::report::svg::flame_svg(&lines, &chosen.title(), &subtitle, &weights.unit)?.into_bytes())
    }
}
