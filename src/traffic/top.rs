//! The most frequent of endlessly many texts, in bounded memory: space-saving (Metwally, Agrawal,
//! El Abbadi, "Efficient computation of frequent and top-k elements in data streams", 2005).
//!
//! Must not: claim a count that is certain to be too low.

use std::collections::HashMap;

/// Texts that have a count at a time. A text that is more than one in so many of all is among them.
const PLACES: usize = 128;

/// A frequent text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frequent {
    /// Which.
    pub name: String,
    /// How often it came, at most.
    pub count: u64,
    /// By how much that may be too high.
    pub too_high_by: u64,
}

/// Finds the most frequent texts.
#[derive(Default)]
pub(super) struct Top {
    places: Vec<Frequent>,
    by_name: HashMap<String, usize>,
    sum: u64,
}

impl Top {
    /// Notes one text.
    pub(super) fn note(&mut self, text: &str) {
        self.sum += 1;
        if let Some(n) = self.by_name.get(text) {
            self.places[*n].count += 1;
            return;
        }
        let n = self.places.len();
        if n < PLACES {
            self.places.push(Frequent { name: text.to_owned(), count: 1, too_high_by: 0 });
            self.by_name.insert(text.to_owned(), n);
            return;
        }
        // The newcomer takes the place of the rarest, with its count as the bound of the error.
        let Some((n, rarest)) = self.places.iter_mut().enumerate().min_by_key(|(_, p)| p.count) else { return };
        self.by_name.remove(&rarest.name);
        rarest.too_high_by = rarest.count;
        rarest.count += 1;
        rarest.name.clear();
        rarest.name.push_str(text);
        self.by_name.insert(text.to_owned(), n);
    }

    /// How many texts were noted.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    /// The most frequent first, at most `k`: those that are more frequent for certain than what
    /// may just have come in.
    pub(super) fn most(&self, k: usize) -> Vec<Frequent> {
        let mut all: Vec<&Frequent> = self.places.iter().filter(|p| p.too_high_by <= p.count / 2).collect();
        all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.name.cmp(&b.name)));
        all.into_iter().take(k).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frequent_are_found_among_endlessly_many_others() {
        let mut top = Top::default();
        for n in 0..100_000_u32 {
            match n % 10 {
                0..3 => top.note("/often"),
                3 => top.note("/sometimes"),
                _ => top.note(&format!("/once/{n}")),
            }
        }
        let most = top.most(5);
        assert_eq!((&*most[0].name, &*most[1].name, most.len()), ("/often", "/sometimes", 2));
        for (found, exact) in most.iter().zip([30_000, 10_000]) {
            assert!(found.count >= exact && found.count - found.too_high_by <= exact, "{found:?}");
        }
        assert_eq!((top.sum(), top.places.len(), top.by_name.len()), (100_000, PLACES, PLACES));
    }

    #[test]
    fn few_texts_are_counted_exactly() {
        let mut top = Top::default();
        for text in ["b", "a", "b", "c", "b", "a"] {
            top.note(text);
        }
        let counts: Vec<(String, u64, u64)> =
            top.most(2).into_iter().map(|f| (f.name, f.count, f.too_high_by)).collect();
        assert_eq!(counts, [("b".into(), 3, 0), ("a".into(), 2, 0)]);
    }
}
