//! Where each weight group is, and the proof that the separator and eager weights never meet.
//!
//! There is one [`Vacancy`] in the house. While it is at home, eager groups may be restored against it (each takes a [`Pass`]); to
//! attach the separator it is given away, which it can be only on grounds; it comes back when the separator is parked.

use crate::{
    canary::Bug,
    fork::{Fork, Rename, fork_plain},
    ids::JobId,
    machine::machine,
    plan::Group,
};

/// Why the separator may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Grounds {
    /// Every eager group is parked.
    AllParked,
    /// Policy `auto`: there is room enough for both.
    RoomEnough,
    /// Policy `never`: told not to care.
    ToldNotToCare,
}

fork_plain!(Grounds, Group);

/// The proof that the separator is off the device; there is exactly one, and nobody else can make another.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Vacancy {
    eager_out: u8,
}

impl Vacancy {
    /// The house's one vacancy, made with the house.
    pub(crate) fn mint() -> Self {
        Self { eager_out: 0 }
    }

    /// Lets an eager group in.
    #[must_use]
    pub fn pass(&mut self) -> Pass {
        self.eager_out += 1;
        Pass(PassKind::Eager)
    }

    /// Whether no eager group is in, or on its way in or out.
    pub(crate) fn is_clear(&self) -> bool {
        self.eager_out == 0 || Bug::OverlapAdmitted.is_active()
    }

    /// Gives the vacancy away to the separator.
    ///
    /// # Errors
    /// Gives itself back if the grounds are `AllParked` and an eager group is still in.
    pub fn attach(self, grounds: Grounds) -> Result<Pass, Self> {
        if grounds == Grounds::AllParked && !self.is_clear() {
            return Err(self);
        }
        Ok(Pass(PassKind::Separator { vacancy: self, grounds }))
    }
}

/// The right of one group to be on the device.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Pass(PassKind);

#[derive(Debug, PartialEq, Eq, Hash)]
enum PassKind {
    Eager,
    Separator { vacancy: Vacancy, grounds: Grounds },
}

impl Fork for Pass {
    fn fork(&self, _rename: &Rename) -> Self {
        Self(match &self.0 {
            PassKind::Eager => PassKind::Eager,
            PassKind::Separator { vacancy, grounds } => PassKind::Separator {
                vacancy: Vacancy {
                    eager_out: vacancy.eager_out,
                },
                grounds: *grounds,
            },
        })
    }
}

impl Fork for Vacancy {
    fn fork(&self, _rename: &Rename) -> Self {
        Self {
            eager_out: self.eager_out,
        }
    }
}

/// A lease on one resident group: it cannot move while one is out.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    group: Group,
}

impl Lease {
    pub(crate) fn group(&self) -> Group {
        self.group
    }
}

impl Fork for Lease {
    fn fork(&self, _rename: &Rename) -> Self {
        Self { group: self.group }
    }
}

machine! {
    /// Where one weight group is.
    machine Placement {
        /// In system RAM. In: at boot, after parking, after a restore that failed. Out: restored.
        Parked {}
        /// On its way in. In: somebody needs it and its pass allows it. Out: the copy arrived, or failed and left nothing.
        Restoring { pass: Pass, job: JobId }
        /// On the device; work may lease it. Out: parked, when no lease is out.
        Resident { pass: Pass, leases: u8 }
        /// On its way out. Out: its memory is free.
        Parking { pass: Pass, job: JobId }
    }
    transitions {
        /// Needs a pass: for an eager group one made against the vacancy, for the separator the vacancy itself.
        Parked: restore(pass: Pass, job: JobId) => Restoring |_| Restoring { pass, job };
        /// All of it arrived.
        Restoring: restored() => Resident |from| Resident { pass: from.pass, leases: 0 };
        /// Nothing of it arrived; it may be tried again.
        Restoring: restore_failed() => Parked with Pass |from| (Parked {}, from.pass);
        /// Only without leases.
        Resident: park(job: JobId) => Parking |from| {
            assert!(from.leases == 0, "a leased group does not move");
            Parking { pass: from.pass, job }
        };
        /// Its memory is free; the pass goes back.
        Parking: parked() => Parked with Pass |from| (Parked {}, from.pass);
        /// It would not go.
        Parking: park_failed() => Resident |from| Resident { pass: from.pass, leases: 0 };
    }
}

impl Placement {
    /// A group in system RAM, as every one is at boot.
    pub(crate) fn at_boot() -> Self {
        Parked {}.into()
    }

    pub(crate) fn is_parked(&self) -> bool {
        matches!(self, Self::Parked(_))
    }

    pub(crate) fn is_resident(&self) -> bool {
        matches!(self, Self::Resident(_))
    }

    pub(crate) fn leases(&self) -> u8 {
        match self {
            Self::Resident(resident) => resident.leases,
            _ => 0,
        }
    }

    /// Grants a lease on `group`, which must be the one placed here and resident.
    pub(crate) fn lease(&mut self, group: Group) -> Lease {
        match self {
            Self::Resident(resident) => resident.leases += 1,
            other => unreachable!(
                "leases are granted on resident groups, and {} is {}",
                group.name(),
                other.name()
            ),
        }
        Lease { group }
    }

    /// Takes a lease back.
    pub(crate) fn give_back(&mut self, lease: Lease) {
        match self {
            Self::Resident(resident) => resident.leases -= 1,
            other => unreachable!(
                "a leased group does not move, and {} is {}",
                lease.group.name(),
                other.name()
            ),
        }
    }

    /// On what grounds the separator is here, if this is its placement and it is not parked.
    pub(crate) fn grounds(&self) -> Option<Grounds> {
        self.pass().and_then(|pass| match &pass.0 {
            PassKind::Eager => None,
            PassKind::Separator { grounds, .. } => Some(*grounds),
        })
    }

    /// The vacancy inside the separator's pass, where eager groups may share the device with it.
    pub(crate) fn shared_vacancy(&mut self) -> Option<&mut Vacancy> {
        let pass = match self {
            Self::Parked(_) => return None,
            Self::Restoring(state) => &mut state.pass,
            Self::Resident(state) => &mut state.pass,
            Self::Parking(state) => &mut state.pass,
        };
        match &mut pass.0 {
            PassKind::Separator { vacancy, grounds } if *grounds != Grounds::AllParked => Some(vacancy),
            _ => None,
        }
    }

    fn pass(&self) -> Option<&Pass> {
        match self {
            Self::Parked(_) => None,
            Self::Restoring(state) => Some(&state.pass),
            Self::Resident(state) => Some(&state.pass),
            Self::Parking(state) => Some(&state.pass),
        }
    }
}

/// Takes a pass back: the separator's gives the vacancy back, an eager one is counted in.
pub(crate) fn give_back(pass: Pass, home: &mut Option<Vacancy>, shared: Option<&mut Vacancy>) {
    match pass.0 {
        PassKind::Separator { vacancy, .. } => *home = Some(vacancy),
        PassKind::Eager => {
            let vacancy = home
                .as_mut()
                .or(shared)
                .expect("an eager group was let in against the one vacancy");
            vacancy.eager_out -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vacancy_is_given_away_as_clear_only_while_no_eager_group_is_in() {
        let mut vacancy = Vacancy::mint();
        let pass = vacancy.pass();
        let vacancy = vacancy.attach(Grounds::AllParked).expect_err("an eager group is in");
        let mut home = Some(vacancy);
        give_back(pass, &mut home, None);
        assert!(home.unwrap().attach(Grounds::AllParked).is_ok());
    }

    #[test]
    fn eager_groups_share_with_a_separator_that_did_not_come_in_alone() {
        for (grounds, shares) in [
            (Grounds::AllParked, false),
            (Grounds::RoomEnough, true),
            (Grounds::ToldNotToCare, true),
        ] {
            let pass = Vacancy::mint().attach(grounds).unwrap();
            let mut placement = Placement::from(Parked {}.restore(pass, JobId(1)));
            assert_eq!(placement.shared_vacancy().is_some(), shares, "{grounds:?}");
            assert_eq!(placement.grounds(), Some(grounds));
        }
    }
}
