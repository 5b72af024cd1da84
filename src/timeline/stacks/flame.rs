//! The flame graph: weights added up along the tree of stacks, ready to be drawn.
//!
//! Must not: draw, know rows of a terminal, or recurse.

use super::{Pattern, Weights};
use crate::model::{FastMap, FrameKind, StackId};
use std::sync::Arc;

/// A node of a [`FlameGraph`]; nodes are numbered so that a subtree is a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(
    /// Index into [`FlameGraph::nodes`].
    pub u32,
);

/// How children of one parent are ordered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// By name: a box keeps its place while weights change.
    #[default]
    Name,
    /// The heaviest first.
    Weight,
}

/// One box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlameNode {
    /// Function or thread name (untrusted); `all` at the root.
    pub symbol: Arc<str>,
    /// What kind of code it is.
    pub kind: FrameKind,
    /// Whether it is the name of a thread rather than a function.
    pub thread: bool,
    /// 0 at the root.
    pub depth: u32,
    /// Weight of samples in it or below it.
    pub total: u64,
    /// Weight of samples that end in it.
    pub self_weight: u64,
    /// Weight to the left of the box, from the left edge of the root: where it begins when the
    /// root is [`FlameNode::total`] wide.
    pub start: u64,
    parent: Option<NodeId>,
    /// One past the last node of the subtree.
    end: u32,
}

/// One step of a path through the graph: survives a new fold, unlike a [`NodeId`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Step {
    /// Function or thread name.
    pub symbol: Arc<str>,
    /// What kind of code it is.
    pub kind: FrameKind,
}

/// What a search found below a node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Search {
    /// The nodes that match.
    pub nodes: Vec<NodeId>,
    /// Weight of the stacks they are in, each once.
    pub weight: u64,
    /// That weight's share of the node looked at, 0 to 1.
    pub share: f64,
}

/// The tree of a flame graph. Node 0 is the root and stands for everything.
#[derive(Clone, Debug, PartialEq)]
pub struct FlameGraph {
    /// The nodes, each before its children, children in their order.
    pub nodes: Vec<FlameNode>,
    /// Totals, and the unit of all weights.
    pub weights: Weights,
    /// Depth of the deepest node.
    pub depth: u32,
}

impl FlameGraph {
    /// The root.
    pub const ROOT: NodeId = NodeId(0);

    /// A node; the root for an id of another graph that is out of range here.
    pub fn node(&self, id: NodeId) -> &FlameNode {
        self.nodes.get(id.0 as usize).unwrap_or(&self.nodes[0])
    }

    /// The node below (the caller); none of the root.
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        self.node(id).parent
    }

    /// The nodes that stand on a node, in order.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let end = self.nodes.get(id.0 as usize).map_or(0, |n| n.end);
        let mut next = id.0.saturating_add(1);
        std::iter::from_fn(move || {
            let this = (next < end).then_some(NodeId(next))?;
            next = self.nodes[next as usize].end;
            Some(this)
        })
    }

    /// A node and everything above it, parents first.
    pub fn subtree(&self, id: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        (id.0..self.nodes.get(id.0 as usize).map_or(0, |n| n.end)).map(NodeId)
    }

    /// The steps from the root to a node; none for the root itself.
    pub fn path(&self, id: NodeId) -> Vec<Step> {
        let mut path = Vec::new();
        let mut next = Some(id);
        while let Some(id) = next {
            let node = self.node(id);
            next = node.parent;
            if next.is_some() {
                path.push(Step { symbol: node.symbol.clone(), kind: node.kind });
            }
        }
        path.reverse();
        path
    }

    /// The node a path leads to, or the last one on the way that this graph has.
    pub fn nearest(&self, path: &[Step]) -> NodeId {
        let mut at = Self::ROOT;
        for step in path {
            let same = |c: &NodeId| *self.node(*c).symbol == *step.symbol && self.node(*c).kind == step.kind;
            match self.children(at).find(same) {
                Some(child) => at = child,
                None => break,
            }
        }
        at
    }

    /// The node a path leads to.
    pub fn find(&self, path: &[Step]) -> Option<NodeId> {
        let found = self.nearest(path);
        (self.node(found).depth as usize == path.len()).then_some(found)
    }

    /// Functions below (and at) a node whose name matches. Threads' names are not looked at.
    pub fn search(&self, pattern: &Pattern, below: NodeId) -> Search {
        let mut found = Search::default();
        let mut counted = 0;
        for id in self.subtree(below) {
            let node = self.node(id);
            if id == Self::ROOT || node.thread || !pattern.matches(&node.symbol) {
                continue;
            }
            found.nodes.push(id);
            // What stands on a match is in its total already.
            if id.0 >= counted {
                found.weight = found.weight.saturating_add(node.total);
                counted = node.end;
            }
        }
        let of = self.node(below).total;
        found.share = if of == 0 { 0.0 } else { found.weight as f64 / of as f64 };
        found
    }
}

/// A tree under construction: nodes by number, a parent always before its children.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<TreeNode>,
    index: FastMap<(u32, u32), u32>,
    placed: FastMap<(u32, StackId), u32>,
}

#[derive(Debug)]
struct TreeNode {
    parent: u32,
    key: u32,
    own: u64,
}

impl Default for Tree {
    fn default() -> Tree {
        let root = TreeNode { parent: 0, key: 0, own: 0 };
        Tree { nodes: vec![root], index: FastMap::default(), placed: FastMap::default() }
    }
}

impl Tree {
    pub(super) const ROOT: u32 = 0;

    /// The child of `parent` with `key`, added when new.
    pub(super) fn child(&mut self, parent: u32, key: u32) -> u32 {
        *self.index.entry((parent, key)).or_insert_with(|| {
            self.nodes.push(TreeNode { parent, key, own: 0 });
            u32::try_from(self.nodes.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Adds `weight` to the end of `stack` above `root`. `node`: a stack's caller and key.
    pub(super) fn add(
        &mut self,
        root: u32,
        stack: Option<StackId>,
        weight: u64,
        node: impl Fn(StackId) -> (Option<StackId>, u32),
    ) {
        let at = self.place(root, stack, node);
        self.weigh(at, weight);
    }

    /// Adds `weight` to a node's own.
    pub(super) fn weigh(&mut self, node: u32, weight: u64) {
        let own = &mut self.nodes[node as usize].own;
        *own = own.saturating_add(weight);
    }

    /// The node of the end of `stack` above `root`, added when new. `node`: a stack's caller and key.
    pub(super) fn place(
        &mut self,
        root: u32,
        stack: Option<StackId>,
        node: impl Fn(StackId) -> (Option<StackId>, u32),
    ) -> u32 {
        let mut path = Vec::new();
        let mut at = root;
        let mut next = stack;
        while let Some(id) = next {
            if let Some(&placed) = self.placed.get(&(root, id)) {
                at = placed;
                break;
            }
            let (caller, key) = node(id);
            path.push((id, key));
            next = caller;
        }
        for (id, key) in path.into_iter().rev() {
            at = self.child(at, key);
            self.placed.insert((root, id), at);
        }
        at
    }

    /// Says that stacks are of another table from here on.
    pub(super) fn change_table(&mut self) {
        self.placed.clear();
    }

    /// How many nodes there are, the root included.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The parent of a node; the root's is itself.
    pub(super) fn parent(&self, node: usize) -> usize {
        self.nodes[node].parent as usize
    }

    fn totals(&self) -> Vec<u64> {
        let mut totals: Vec<u64> = self.nodes.iter().map(|n| n.own).collect();
        for n in (1..self.nodes.len()).rev() {
            let parent = self.nodes[n].parent as usize;
            totals[parent] = totals[parent].saturating_add(totals[n]);
        }
        totals
    }

    /// Calls `each` with the key, the own weight and the total of every node; the total is 0
    /// where the same key stands further down the same stack and has counted it already.
    pub(super) fn once_per_stack(&self, mut each: impl FnMut(u32, u64, u64)) {
        let totals = self.totals();
        self.visit(|n, key, is_first| {
            each(key, self.nodes[n as usize].own, if is_first { totals[n as usize] } else { 0 });
        });
    }

    /// Calls `each` with the number and the key of every node but the root, parents first, and
    /// whether no node further down its stack has the same key.
    pub(super) fn visit(&self, mut each: impl FnMut(u32, u32, bool)) {
        const NONE: u32 = Tree::ROOT; // which is nobody's child
        let (mut first, mut next) = (vec![NONE; self.nodes.len()], vec![NONE; self.nodes.len()]);
        for n in (1..self.nodes.len()).rev() {
            next[n] = std::mem::replace(&mut first[self.parent(n)], n as u32);
        }
        let mut open: FastMap<u32, u32> = FastMap::default();
        let mut path = Vec::new();
        let mut at = first[Tree::ROOT as usize];
        while at != NONE {
            let key = self.nodes[at as usize].key;
            let count = open.entry(key).or_default();
            each(at, key, *count == 0);
            *count += 1;
            path.push(at);
            at = first[at as usize];
            while let (NONE, Some(done)) = (at, path.last().copied()) {
                path.pop();
                if let Some(count) = open.get_mut(&self.nodes[done as usize].key) {
                    *count -= 1;
                }
                at = next[done as usize];
            }
        }
    }

    /// The graph. `name`: symbol, kind and thread of a key.
    pub(super) fn into_graph(
        self,
        order: Order,
        weights: Weights,
        name: impl Fn(u32) -> (Arc<str>, FrameKind, bool),
    ) -> FlameGraph {
        self.graph(order, weights, name).0
    }

    /// The graph, and by node of the graph its number in this tree.
    pub(super) fn graph(
        &self,
        order: Order,
        weights: Weights,
        name: impl Fn(u32) -> (Arc<str>, FrameKind, bool),
    ) -> (FlameGraph, Vec<u32>) {
        let totals = self.totals();
        let mut children: Vec<Vec<u32>> = vec![Vec::new(); self.nodes.len()];
        let mut names = Vec::with_capacity(self.nodes.len());
        names.push((Arc::from("all"), FrameKind::User, false));
        for (n, node) in (0u32..).zip(&self.nodes).skip(1) {
            children[node.parent as usize].push(n);
            names.push(name(node.key));
        }
        for list in &mut children {
            list.sort_by(|&a, &b| {
                let (a, b) = (a as usize, b as usize);
                let by_name = names[a].cmp(&names[b]);
                match order {
                    Order::Name => by_name,
                    Order::Weight => totals[b].cmp(&totals[a]).then(by_name),
                }
            });
        }
        let mut nodes: Vec<FlameNode> = Vec::with_capacity(self.nodes.len());
        let mut numbers = Vec::with_capacity(self.nodes.len());
        let mut depth = 0;
        // (node, its parent in the graph, where it begins)
        let mut todo = vec![(Self::ROOT, None::<NodeId>, 0u64)];
        while let Some((n, parent, start)) = todo.pop() {
            let id = NodeId(u32::try_from(nodes.len()).unwrap_or(u32::MAX));
            let (symbol, kind, thread) = names[n as usize].clone();
            let here = parent.map_or(0, |p| nodes[p.0 as usize].depth + 1);
            depth = depth.max(here);
            let total = totals[n as usize];
            let self_weight = self.nodes[n as usize].own;
            nodes.push(FlameNode {
                symbol,
                kind,
                thread,
                depth: here,
                total,
                self_weight,
                start,
                parent,
                end: id.0 + 1,
            });
            numbers.push(n);
            let first = todo.len();
            let mut at = start;
            for &child in &children[n as usize] {
                todo.push((child, Some(id), at));
                at = at.saturating_add(totals[child as usize]);
            }
            todo[first..].reverse();
        }
        for n in (1..nodes.len()).rev() {
            if let Some(parent) = nodes[n].parent {
                let end = nodes[n].end;
                let above = &mut nodes[parent.0 as usize].end;
                *above = end.max(*above);
            }
        }
        (FlameGraph { nodes, weights, depth }, numbers)
    }
}
