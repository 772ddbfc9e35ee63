//! One declarative table per machine: it makes the state types, the consuming transitions, the runtime enum and the rows from which
//! the state × event matrix and the graph are drawn.

/// One legal cell of a machine's matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The machine.
    pub machine: &'static str,
    /// The state it leaves.
    pub from: &'static str,
    /// The transition.
    pub event: &'static str,
    /// The state it enters.
    pub to: &'static str,
}

/// A machine as its table tells it.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// Its name.
    pub machine: &'static str,
    /// Its states, in the order of the table.
    pub states: &'static [&'static str],
    /// Its legal cells.
    pub rows: &'static [Row],
}

impl Table {
    /// The distinct transitions, in the order of the table.
    #[must_use]
    pub fn events(&self) -> Vec<&'static str> {
        let mut events = Vec::new();
        for row in self.rows {
            if !events.contains(&row.event) {
                events.push(row.event);
            }
        }
        events
    }

    /// The matrix as text: a line a state, a column a transition, the state entered or a dot where the cell does not exist.
    #[must_use]
    pub fn matrix(&self) -> String {
        let events = self.events();
        let mut text = format!("{}\n", self.machine);
        for state in self.states {
            for event in &events {
                let cell = self.rows.iter().find(|row| row.from == *state && row.event == *event);
                let to = cell.map_or("·", |row| row.to);
                text.push_str(&format!("  {state:<10} {event:<18} {to}\n"));
            }
        }
        text
    }

    /// The graph in Mermaid's notation, for the docs.
    #[must_use]
    pub fn graph(&self) -> String {
        let mut text = String::from("stateDiagram-v2\n");
        for row in self.rows {
            text.push_str(&format!("    {} --> {}: {}\n", row.from, row.to, row.event));
        }
        text
    }
}

/// Holds a machine's runtime enum, so that a transition can consume the state and put the next one in its place.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cell<M>(Option<M>);

impl<M> Cell<M> {
    pub(crate) fn new(state: M) -> Self {
        Self(Some(state))
    }

    pub(crate) fn get(&self) -> &M {
        self.0.as_ref().expect("a machine is away only while it steps")
    }

    pub(crate) fn get_mut(&mut self) -> &mut M {
        self.0.as_mut().expect("a machine is away only while it steps")
    }

    /// Steps: `step` consumes the state and gives the next one, and whatever else comes of it.
    pub(crate) fn step<T>(&mut self, step: impl FnOnce(M) -> (M, T)) -> T {
        let state = self.0.take().expect("a machine is away only while it steps");
        let (next, product) = step(state);
        self.0 = Some(next);
        product
    }
}

/// Which legal cells have been walked, for the campaign that must walk them all; counted only where the core is being checked.
#[cfg(feature = "checking")]
pub mod coverage {
    use std::{cell::RefCell, collections::BTreeMap};

    thread_local! {
        static HITS: RefCell<BTreeMap<(&'static str, &'static str, &'static str), u64>> = const { RefCell::new(BTreeMap::new()) };
    }

    pub(crate) fn hit(machine: &'static str, from: &'static str, event: &'static str) {
        HITS.with_borrow_mut(|hits| *hits.entry((machine, from, event)).or_insert(0) += 1);
    }

    /// Takes this thread's counts: (machine, state, transition) → times walked.
    #[must_use]
    pub fn take() -> BTreeMap<(&'static str, &'static str, &'static str), u64> {
        HITS.with_borrow_mut(std::mem::take)
    }
}

/// See the module's page. A transition is written `State: name(arguments) => Next |from| value`, where `from` is the consumed state;
/// `=> Next with Extra` gives a pair.
macro_rules! machine {
    (
        $(#[$machine_doc:meta])*
        machine $machine:ident {
            $( $(#[$state_doc:meta])* $state:ident { $( $field:ident : $field_type:ty ),* $(,)? } )+
        }
        transitions {
            $( $(#[$event_doc:meta])* $from:ident : $event:ident ( $( $argument:ident : $argument_type:ty ),* ) => $to:ident $( with $extra:ty )? | $binder:pat_param | $body:expr ; )+
        }
    ) => {
        $(
            $(#[$state_doc])*
            // A state without fields could be made of nothing by whoever sees its type.
            #[non_exhaustive]
            #[derive(Debug, PartialEq, Eq, Hash)]
            pub struct $state { $( $field: $field_type ),* }

            impl $crate::fork::Fork for $state {
                fn fork(&self, _rename: &$crate::fork::Rename) -> Self {
                    Self { $( $field: $crate::fork::Fork::fork(&self.$field, _rename) ),* }
                }
            }

            impl From<$state> for $machine {
                fn from(state: $state) -> Self {
                    Self::$state(state)
                }
            }
        )+

        $(#[$machine_doc])*
        #[derive(Debug, PartialEq, Eq, Hash)]
        pub enum $machine {
            $( $(#[$state_doc])* $state($state), )+
        }

        impl $machine {
            /// The machine's table: its states and legal cells.
            pub const TABLE: $crate::machine::Table = $crate::machine::Table {
                machine: stringify!($machine),
                states: &[$( stringify!($state) ),+],
                rows: &[$( $crate::machine::Row {
                    machine: stringify!($machine),
                    from: stringify!($from),
                    event: stringify!($event),
                    to: stringify!($to),
                } ),+],
            };

            /// The state's name.
            #[must_use]
            #[allow(dead_code, reason = "not every machine is asked")]
            pub fn name(&self) -> &'static str {
                match self { $( Self::$state(_) => stringify!($state), )+ }
            }
        }

        impl $crate::fork::Fork for $machine {
            fn fork(&self, rename: &$crate::fork::Rename) -> Self {
                match self { $( Self::$state(state) => Self::$state($crate::fork::Fork::fork(state, rename)), )+ }
            }
        }

        $(
            impl $from {
                #[doc = concat!("`", stringify!($from), "` → `", stringify!($to), "`.")]
                #[doc = ""]
                $(#[$event_doc])*
                #[must_use]
                pub fn $event(self, $( $argument: $argument_type ),*) -> machine!(@product $to $( $extra )?) {
                    #[cfg(feature = "checking")]
                    $crate::machine::coverage::hit(stringify!($machine), stringify!($from), stringify!($event));
                    let $binder = self;
                    $body
                }
            }
        )+
    };
    (@product $to:ident) => { $to };
    (@product $to:ident $extra:ty) => { ($to, $extra) };
}

pub(crate) use machine;
