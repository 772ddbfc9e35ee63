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
    use std::{cell::Cell, collections::BTreeMap};

    use crate::TABLES;

    const CELLS: usize = {
        let (mut count, mut table) = (0, 0);
        while table < TABLES.len() {
            count += TABLES[table].rows.len();
            table += 1;
        }
        count
    };

    thread_local! {
        static HITS: [Cell<u64>; CELLS] = const { [const { Cell::new(0) }; CELLS] };
    }

    const fn same(one: &str, other: &str) -> bool {
        let (one, other) = (one.as_bytes(), other.as_bytes());
        let mut index = 0;
        while index < one.len() && index < other.len() && one[index] == other[index] {
            index += 1;
        }
        index == one.len() && index == other.len()
    }

    /// The number of a cell among those of all tables; worked out when the core is compiled.
    pub(crate) const fn cell(machine: &str, from: &str, event: &str) -> usize {
        let (mut before, mut table) = (0, 0);
        while table < TABLES.len() {
            let rows = TABLES[table].rows;
            let mut row = 0;
            while row < rows.len() {
                if same(rows[row].machine, machine) && same(rows[row].from, from) && same(rows[row].event, event) {
                    return before + row;
                }
                row += 1;
            }
            before += rows.len();
            table += 1;
        }
        panic!("a transition that is in no table");
    }

    pub(crate) fn hit(cell: usize) {
        HITS.with(|hits| hits[cell].set(hits[cell].get() + 1));
    }

    /// A set of cells.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Walked(u128);

    const _: () = assert!(CELLS <= 128);

    impl Walked {
        /// Those that this thread walked since it was last asked.
        #[must_use]
        pub fn take() -> Self {
            let bit = |(cell, hits): (usize, &Cell<u64>)| u128::from(hits.take() > 0) << cell;
            HITS.with(|hits| Self(hits.iter().enumerate().map(bit).fold(0, |all, one| all | one)))
        }

        /// The cells in either.
        #[must_use]
        pub fn and(self, other: Self) -> Self {
            Self(self.0 | other.0)
        }

        /// Legal cells that are not in it, as `Machine.State.transition`.
        #[must_use]
        pub fn missed(self) -> Vec<String> {
            let rows = TABLES.iter().flat_map(|table| table.rows).enumerate();
            rows.filter(|(cell, _)| self.0 >> cell & 1 == 0)
                .map(|(_, row)| format!("{}.{}.{}", row.machine, row.from, row.event))
                .collect()
        }
    }

    /// Takes this thread's counts: (machine, state, transition) → times walked.
    #[must_use]
    pub fn take() -> BTreeMap<(&'static str, &'static str, &'static str), u64> {
        let rows = TABLES.iter().flat_map(|table| table.rows);
        HITS.with(|hits| {
            rows.zip(hits)
                .map(|(row, hits)| ((row.machine, row.from, row.event), hits.take()))
                .filter(|(_, hits)| *hits > 0)
                .collect()
        })
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
                    $crate::machine::coverage::hit(const {
                        $crate::machine::coverage::cell(stringify!($machine), stringify!($from), stringify!($event))
                    });
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
