//! The instant a run begins: once every worker stands ready and the first requests are
//! rendered. A run that is given up before it began lets everybody go.
//!
//! Must not: matter once the run has begun.

use crate::clock::Clock;
use crate::model::At;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// See the top of the file.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    arrived: u32,
    start: Option<At>,
    given_up: bool,
}

impl Gate {
    /// A worker that could send waits here; the zero of its schedule, or `None` when the run
    /// was given up.
    pub(crate) fn arrive(&self) -> Option<At> {
        let mut state = self.lock();
        state.arrived += 1;
        self.changed.notify_all();
        while state.start.is_none() && !state.given_up {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.start
    }

    /// Starts the run once all `workers` have arrived; its start, unless it was given up.
    pub(crate) fn open(&self, workers: u32, clock: &Clock) -> Option<At> {
        let mut state = self.lock();
        while state.arrived < workers && !state.given_up {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if !state.given_up {
            state.start = Some(clock.now());
            self.changed.notify_all();
        }
        state.start
    }

    /// Lets everybody who waits go; nothing once the run has begun.
    pub(crate) fn give_up(&self) {
        self.lock().given_up = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_start_together_or_not_at_all() {
        for give_up in [false, true] {
            let gate = Gate::default();
            let clock = Clock::manual();
            clock.advance(7);
            let starts: Vec<Option<At>> = std::thread::scope(|s| {
                let workers: Vec<_> = (0..3).map(|_| s.spawn(|| gate.arrive())).collect();
                if give_up {
                    gate.give_up()
                } else {
                    assert_eq!(gate.open(3, &clock), Some(At(7)));
                }
                workers.into_iter().map(|w| w.join().unwrap()).collect()
            });
            assert_eq!(starts, [(!give_up).then_some(At(7)); 3]);
            gate.give_up(); // too late, and nothing
            assert_eq!(gate.arrive(), starts[0]);
        }
    }
}
