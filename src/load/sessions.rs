//! Which clients have a request under way, and what they will ask next: requests of one client
//! go out one after the other.
//!
//! Must not: hold a request whose client is free.

use std::collections::{HashMap, VecDeque};

/// See the top of the file; `T` is a request.
pub(super) struct Sessions<T> {
    busy: HashMap<u64, VecDeque<T>>,
    held: usize,
}

impl<T> Default for Sessions<T> {
    fn default() -> Sessions<T> {
        Sessions { busy: HashMap::new(), held: 0 }
    }
}

impl<T> Sessions<T> {
    /// A request of `client` is due: given back when it may go, kept while one is under way.
    /// Client 0 is nobody in particular.
    pub(super) fn due(&mut self, client: u64, request: T) -> Option<T> {
        if client == 0 {
            return Some(request);
        }
        match self.busy.get_mut(&client) {
            Some(waiting) => {
                waiting.push_back(request);
                self.held += 1;
                None
            }
            None => {
                self.busy.insert(client, VecDeque::new());
                Some(request)
            }
        }
    }

    /// A request of `client` has ended; its next one, if that is due.
    pub(super) fn ended(&mut self, client: u64) -> Option<T> {
        let next = self.busy.get_mut(&client)?.pop_front();
        match next {
            Some(_) => self.held -= 1,
            None => drop(self.busy.remove(&client)),
        }
        next
    }

    /// How many are kept.
    pub(super) fn held(&self) -> usize {
        self.held
    }

    /// Forgets what is kept.
    pub(super) fn clear(&mut self) {
        self.busy.clear();
        self.held = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_asks_one_thing_at_a_time_and_in_order() {
        let mut s = Sessions::default();
        assert_eq!((s.due(7, 'a'), s.due(7, 'b'), s.due(8, 'c'), s.due(7, 'd')), (Some('a'), None, Some('c'), None));
        assert_eq!((s.due(0, 'e'), s.due(0, 'f'), s.held()), (Some('e'), Some('f'), 2));
        assert_eq!((s.ended(7), s.ended(8), s.ended(8)), (Some('b'), None, None));
        assert_eq!((s.ended(0), s.ended(7), s.held()), (None, Some('d'), 0));
        assert_eq!((s.ended(7), s.due(7, 'g'), s.due(7, 'h')), (None, Some('g'), None));
    }
}
