//! Where panes go: each screen laid out on purpose for small, middle and large windows.
//!
//! Must not: know what a pane shows.

use super::action::Screen;
use ratatui::layout::Rect;

/// The least window that anything can be shown in: columns, rows.
pub const LEAST: (u16, u16) = (60, 16);

/// How much room there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// A single column without side borders: 80 × 24.
    Small,
    /// Two columns: 120 × 36.
    Middle,
    /// Three columns: 200 × 60.
    Large,
}

impl Room {
    /// The room of a window; `None` when it is too small for anything.
    pub fn of(width: u16, height: u16) -> Option<Room> {
        match (width, height) {
            (w, h) if w < LEAST.0 || h < LEAST.1 => None,
            (w, h) if w >= 170 && h >= 48 => Some(Room::Large),
            (w, h) if w >= 104 && h >= 30 => Some(Room::Middle),
            _ => Some(Room::Small),
        }
    }
}

/// A placed pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The pane's name.
    pub pane: &'static str,
    /// Its border: x, y, width, height; may reach one cell beyond the window.
    pub border: (i32, i32, i32, i32),
    /// What is inside the border and inside the window.
    pub inner: Rect,
}

/// A screen laid out for a window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// The window.
    pub window: Rect,
    /// The line with target and totals; empty when the window is too small.
    pub header: Rect,
    /// The line that says what is selected, when something is.
    pub chips: Rect,
    /// Where the panes are.
    pub body: Rect,
    /// The line with keys and messages.
    pub footer: Rect,
    /// The panes in the order of their focus.
    pub places: Vec<Place>,
}

impl Layout {
    /// Lays out a screen. `zoomed`: the one pane to be shown alone. `lines`: how many lines show all that
    /// a pane has, if it can say. A window too small for anything has no places.
    pub fn new(window: Rect, screen: Screen, zoomed: Option<&'static str>, chips: bool, lines: Lines<'_>) -> Layout {
        let Some(room) = Room::of(window.width, window.height) else {
            return Layout { window, ..Layout::default() };
        };
        let row = |y: u16, height: u16| Rect { x: 0, y, width: window.width, height };
        let top = 1 + u16::from(chips);
        let body = row(top, window.height - top - 1);
        let tree = match zoomed {
            Some(pane) => Node::Pane(pane),
            None => screen_tree(screen, room, body.height),
        };
        let (x, y, w, h) = (0, i32::from(body.y), i32::from(body.width), i32::from(body.height));
        let mut placing = Placing { body, lines, places: Vec::new() };
        match room {
            // Side borders lie outside the window, the lower one under the footer.
            Room::Small => tree.place((x - 1, y, w + 2, h + 1), &mut placing),
            _ => tree.place((x, y, w, h), &mut placing),
        }
        Layout {
            window,
            header: row(0, 1),
            chips: row(1, u16::from(chips)),
            body,
            footer: row(window.height - 1, 1),
            places: placing.places,
        }
    }

    /// The pane whose border or inside holds a cell.
    pub fn pane_at(&self, x: u16, y: u16) -> Option<&Place> {
        self.places.iter().find(|p| {
            let (px, py, pw, ph) = p.border;
            (px..px + pw).contains(&i32::from(x)) && (py..py + ph - 1).contains(&i32::from(y))
        })
    }
}

/// How many lines show all that a pane has to show; `None` when it does not say, or takes what it is given.
pub type Lines<'a> = &'a dyn Fn(&str) -> Option<u16>;

/// How much of its parent a node gets.
#[derive(Clone, Copy, Debug)]
enum Size {
    /// So many cells inside its border.
    Cells(u16),
    /// A share of what is left.
    Share(u16),
    /// The same, but no more than its [`Lines`]: what it does not need is the others'.
    UpTo(u16),
}

/// A layout in the making.
struct Placing<'a> {
    body: Rect,
    lines: Lines<'a>,
    places: Vec<Place>,
}

/// A tree of panes.
#[derive(Debug)]
enum Node {
    Pane(&'static str),
    Rows(Vec<(Size, Node)>),
    Columns(Vec<(Size, Node)>),
}

impl Node {
    fn place(&self, border: (i32, i32, i32, i32), placing: &mut Placing<'_>) {
        let (x, y, w, h) = border;
        let body = placing.body;
        match self {
            Node::Pane(pane) => {
                let clip = |v: i32, low: u16, high: u16| v.clamp(i32::from(low), i32::from(high)) as u16;
                let (left, right) =
                    (clip(x + 1, body.left(), body.right()), clip(x + w - 1, body.left(), body.right()));
                let (top, bottom) =
                    (clip(y + 1, body.top(), body.bottom()), clip(y + h - 1, body.top(), body.bottom()));
                let inner =
                    Rect { x: left, y: top, width: right.saturating_sub(left), height: bottom.saturating_sub(top) };
                if w >= 3 && h >= 3 && inner.area() > 0 {
                    placing.places.push(Place { pane, border, inner });
                }
            }
            Node::Rows(children) => {
                let mut at = y;
                for (cells, child) in shares(children, h, placing.lines) {
                    child.place((x, at, w, cells + 2), placing);
                    at += cells + 1;
                }
            }
            Node::Columns(children) => {
                let mut at = x;
                for (cells, child) in shares(children, w, &|_| None) {
                    child.place((at, y, cells + 2, h), placing);
                    at += cells + 1;
                }
            }
        }
    }
}

/// The cells inside the border that each child gets of `total` with all borders; neighbours
/// share one. What does not fit is left out from the end.
fn shares<'a>(children: &'a [(Size, Node)], total: i32, lines: Lines<'_>) -> Vec<(i32, &'a Node)> {
    let mut n = children.len();
    let need = |n: usize| -> i32 {
        children[..n].iter().map(|(s, _)| 1 + if let Size::Cells(c) = s { i32::from(*c) } else { 1 }).sum::<i32>() + 1
    };
    while n > 1 && need(n) > total {
        n -= 1;
    }
    let children = &children[..n];
    let mut sizes: Vec<Size> = children.iter().map(|(size, _)| *size).collect();
    let first = divided(&sizes, total);
    for ((size, (_, node)), cells) in sizes.iter_mut().zip(children).zip(first) {
        let Size::UpTo(share) = *size else { continue };
        let lines = if let Node::Pane(pane) = node { lines(pane) } else { None };
        *size = match lines.map(|lines| lines.max(1)) {
            Some(lines) if i32::from(lines) < cells => Size::Cells(lines),
            _ => Size::Share(share),
        };
    }
    divided(&sizes, total).into_iter().zip(children.iter().map(|(_, node)| node)).collect()
}

/// The cells of each size; without any share, the last one takes what is left.
fn divided(sizes: &[Size], total: i32) -> Vec<i32> {
    let weight = |size: &Size| if let Size::Share(w) | Size::UpTo(w) = size { i32::from(*w) } else { 0 };
    let fixed: i32 = sizes.iter().map(|s| if let Size::Cells(c) = s { i32::from(*c) } else { 0 }).sum();
    let weights: i32 = sizes.iter().map(weight).sum();
    let free = (total - 1 - sizes.len() as i32 - fixed).max(0);
    let (mut weight_so_far, mut given) = (0, 0);
    let cells = |(n, size): (usize, &Size)| match size {
        Size::Share(_) | Size::UpTo(_) => {
            weight_so_far += weight(size);
            let upto = free * weight_so_far / weights.max(1);
            upto - std::mem::replace(&mut given, upto)
        }
        Size::Cells(c) if weights == 0 && n + 1 == sizes.len() => i32::from(*c) + free,
        Size::Cells(c) => i32::from(*c),
    };
    sizes.iter().enumerate().map(cells).collect()
}

/// The tree of a screen. Order is the order of focus.
fn screen_tree(screen: Screen, room: Room, height: u16) -> Node {
    use Node::{Columns, Pane, Rows};
    use Size::{Cells, Share, UpTo};
    let pane = |size: Size, name: &'static str| (size, Pane(name));
    match (screen, room) {
        (Screen::Overview, Room::Small) => {
            let mut rows = vec![
                pane(Share(2), "throughput"),
                pane(Share(3), "latency"),
                pane(Cells(if height >= 26 { 6 } else { 4 }), "cpu"),
                pane(Cells(3), "sockets"),
            ];
            if height >= 20 {
                rows.push(pane(Cells(if height >= 26 { 3 } else { 2 }), "symbols"));
            }
            if height >= 28 {
                rows.push(pane(Cells(2), "findings"));
            }
            Rows(rows)
        }
        (Screen::Overview, Room::Middle) => Columns(vec![
            (Share(1), Rows(vec![pane(Share(5), "throughput"), pane(Share(4), "cpu"), pane(Share(3), "symbols")])),
            (Share(1), Rows(vec![pane(Share(5), "latency"), pane(Share(4), "sockets"), pane(Share(3), "findings")])),
        ]),
        (Screen::Overview, Room::Large) => Columns(vec![
            (Share(3), Rows(vec![pane(Share(4), "throughput"), pane(Share(4), "cpu"), pane(Share(4), "symbols")])),
            (Share(3), Rows(vec![pane(Share(4), "latency"), pane(Share(4), "sockets"), pane(Share(4), "findings")])),
            (
                Share(2),
                Rows(vec![
                    pane(Share(4), "routes"),
                    pane(Share(2), "outcomes"),
                    pane(Share(2), "processes"),
                    pane(Share(2), "network"),
                    pane(Share(2), "memory"),
                ]),
            ),
        ]),
        (Screen::Load, Room::Small) => {
            let mut rows = vec![
                pane(Share(4), "latency"),
                (Share(4), Columns(vec![pane(Share(1), "outcomes"), pane(Share(1), "phases")])),
                pane(Share(5), "routes"),
                pane(Cells(if height >= 30 { 5 } else { 2 }), "client"),
            ];
            if height >= 40 {
                rows.insert(2, pane(Share(4), "distribution"));
            }
            Rows(rows)
        }
        (Screen::Load, Room::Middle) => Columns(vec![
            (
                Share(1),
                Rows(vec![
                    pane(Share(4), "throughput"),
                    pane(Share(4), "routes"),
                    pane(Share(3), "distribution"),
                    pane(Share(2), "slowest"),
                ]),
            ),
            (
                Share(1),
                Rows(vec![
                    pane(Share(4), "latency"),
                    pane(Cells(if height >= 40 { 9 } else { 7 }), "phases"),
                    pane(Share(3), "outcomes"),
                    pane(Cells(5), "client"),
                ]),
            ),
        ]),
        (Screen::Load, Room::Large) => Columns(vec![
            (Share(3), Rows(vec![pane(Share(4), "throughput"), pane(Share(6), "routes")])),
            (
                Share(3),
                Rows(vec![
                    pane(Share(4), "latency"),
                    pane(Cells(9), "phases"),
                    pane(Share(3), "distribution"),
                    pane(Share(3), "slowest"),
                ]),
            ),
            (
                Share(2),
                Rows(vec![
                    pane(Share(5), "outcomes"),
                    pane(Share(4), "connections"),
                    pane(Cells(5), "client"),
                    pane(Share(4), "traffic"),
                ]),
            ),
        ]),
        (Screen::Host, Room::Small) => Rows(vec![
            pane(Share(5), "cpu"),
            pane(Share(4), "processes"),
            (Share(3), Columns(vec![pane(Share(1), "network"), pane(Share(1), "memory")])),
            (Share(3), Columns(vec![pane(Share(1), "disk"), pane(Share(1), "pressure")])),
        ]),
        (Screen::Host, Room::Middle) => Columns(vec![
            (Share(1), Rows(vec![pane(Share(3), "cpu"), pane(Share(4), "cpu history"), pane(Share(3), "softirq")])),
            (
                Share(1),
                Rows(vec![
                    pane(Share(3), "processes"),
                    pane(Share(3), "network"),
                    pane(Share(3), "memory"),
                    pane(Share(3), "disk"),
                    pane(Share(3), "pressure"),
                ]),
            ),
        ]),
        (Screen::Host, Room::Large) => Columns(vec![
            (Share(3), Rows(vec![pane(Share(4), "cpu"), pane(Share(4), "cpu history"), pane(Share(4), "softirq")])),
            (Share(3), Rows(vec![pane(Share(4), "processes"), pane(Share(4), "network"), pane(Share(4), "disk")])),
            (Share(2), Rows(vec![pane(Share(4), "memory"), pane(Share(4), "pressure"), pane(Share(4), "samplers")])),
        ]),
        (Screen::Sockets, Room::Small) => Rows(vec![
            pane(Share(5), "sockets"),
            pane(Share(3), "ports"),
            pane(Share(2), "listeners"),
            pane(Share(6), "counters"),
        ]),
        (Screen::Sockets, _) => Rows(vec![
            (Share(5), Columns(vec![pane(Share(1), "sockets"), pane(Share(1), "connections")])),
            (Share(2), Columns(vec![pane(Share(3), "ports"), pane(Share(2), "listeners")])),
            pane(Share(4), "counters"),
        ]),
        (Screen::Profile, Room::Small) => Rows(vec![pane(Share(4), "flame"), pane(Share(1), "symbols")]),
        (Screen::Profile, Room::Middle) => Rows(vec![
            pane(Share(6), "flame"),
            (
                Share(4),
                Columns(vec![
                    pane(Share(6), "symbols"),
                    pane(Share(4), "callers"),
                    (
                        Share(4),
                        Rows(vec![pane(Cells(3), "sums"), pane(Share(1), "subsecond"), pane(Cells(3), "captures")]),
                    ),
                ]),
            ),
        ]),
        (Screen::Profile, Room::Large) => Columns(vec![
            (Share(5), Rows(vec![pane(Share(7), "flame"), pane(Share(4), "symbols")])),
            (
                Share(2),
                Rows(vec![
                    pane(Share(4), "callers"),
                    pane(Share(3), "subsecond"),
                    pane(Share(2), "sums"),
                    pane(Share(3), "captures"),
                ]),
            ),
        ]),
        (Screen::Findings, Room::Small) => {
            Rows(vec![pane(Share(4), "findings"), pane(UpTo(3), "captures"), pane(UpTo(3), "notes")])
        }
        (Screen::Findings, _) => Columns(vec![
            (Share(1), Rows(vec![pane(Share(1), "findings")])),
            (Share(1), Rows(vec![pane(Share(1), "captures"), pane(Share(1), "notes")])),
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panes_cover_the_body_and_never_each_other() {
        for screen in Screen::ALL {
            for (w, h) in [(60, 16), (80, 24), (100, 50), (104, 30), (120, 36), (170, 48), (200, 60), (300, 100)] {
                let layout = Layout::new(Rect::new(0, 0, w, h), screen, None, true, &|_| None);
                assert!(!layout.places.is_empty());
                let mut covered = 0u32;
                for (i, a) in layout.places.iter().enumerate() {
                    assert_eq!(layout.body.intersection(a.inner), a.inner);
                    covered += a.inner.area();
                    for b in &layout.places[i + 1..] {
                        assert!(a.inner.intersection(b.inner).is_empty(), "{screen:?} {w}x{h} {} {}", a.pane, b.pane);
                    }
                }
                assert!(covered * 10 >= layout.body.area() * 6, "{screen:?} {w}x{h}: {covered}");
            }
        }
    }

    #[test]
    fn a_window_too_small_has_no_panes() {
        assert_eq!(Layout::new(Rect::new(0, 0, 59, 40), Screen::Host, None, false, &|_| None).places, []);
        assert_eq!(Layout::new(Rect::new(0, 0, 0, 0), Screen::Host, None, false, &|_| None).places, []);
    }

    #[test]
    fn zoom_gives_one_pane_everything() {
        let layout = Layout::new(Rect::new(0, 0, 120, 36), Screen::Overview, Some("cpu"), false, &|_| None);
        assert_eq!((layout.places.len(), layout.places[0].inner), (1, Rect::new(1, 2, 118, 32)));
    }

    #[test]
    fn a_pane_with_little_to_show_leaves_its_room_to_the_others() {
        let heights = |lines: Lines<'_>| {
            let layout = Layout::new(Rect::new(0, 0, 80, 24), Screen::Findings, None, false, lines);
            layout.places.iter().map(|p| p.inner.height).collect::<Vec<_>>()
        };
        assert_eq!(heights(&|_| None), [7, 6, 6]);
        assert_eq!(heights(&|pane| if pane == "findings" { Some(1) } else { Some(50) }), [7, 6, 6]);
        assert_eq!(heights(&|pane| (pane == "captures").then_some(2)), [9, 2, 8]);
        assert_eq!(heights(&|_| Some(0)), [17, 1, 1]);
    }
}
