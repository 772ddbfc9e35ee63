//! The rule of the seat, held against what every client of a wave saw.
//!
//! Whose handshake is whole takes the pod over from connections that were accepted before its own, and from no other. A client sees the
//! order of acceptance, for connections are opened one after the other. So whoever was sent away must have somebody later to blame.

/// What one connection was to the seat, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Visit {
    /// Its place in the order of acceptance.
    pub(super) order: u64,
    /// Whose it was, for the words of a verdict.
    pub(super) client_id: String,
    /// A client of that name did not hear of its eviction lately: the pod may answer it 4001 out of hand.
    pub(super) held: bool,
    pub(super) end: End,
}

/// How a connection that wanted the seat ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It has the seat and gets slices.
    Live,
    /// 4001.
    Preempted,
    /// The socket went without a code, after the pod had taken note of the session.
    Dropped,
    /// It left by itself, or the session failed: it may have had the seat.
    Over,
    /// It never got in.
    Outside,
    /// Neither slices nor an end came.
    Mute,
}

/// Everything in a wave that goes against the rule, in words.
pub(super) fn judge(visits: &[Visit]) -> Vec<String> {
    let mut wrong = Vec::new();
    let live: Vec<&Visit> = visits.iter().filter(|visit| visit.end == End::Live).collect();
    if live.len() > 1 {
        let names: Vec<&str> = live.iter().map(|visit| visit.client_id.as_str()).collect();
        wrong.push(format!("several are live at once: {}", names.join(", ")));
    }
    for visit in visits {
        let who = format!("connection {} ({})", visit.order, visit.client_id);
        match visit.end {
            End::Preempted | End::Dropped if !visit.held && !has_somebody_later(visits, visit.order) => {
                wrong.push(format!("{who} ended as {:?}, and nobody came after it", visit.end));
            }
            End::Mute => wrong.push(format!("{who} heard neither slices nor an end")),
            _ => {}
        }
    }
    wrong
}

/// Whether somebody whose handshake can have been whole was accepted later.
fn has_somebody_later(visits: &[Visit], order: u64) -> bool {
    visits
        .iter()
        .any(|visit| visit.order > order && visit.end != End::Outside)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn visit(order: u64, end: End) -> Visit {
        Visit {
            order,
            client_id: format!("tab-{order}"),
            held: false,
            end,
        }
    }

    #[test]
    fn the_latest_stays_and_the_others_are_told() {
        let visits = [
            visit(1, End::Preempted),
            visit(2, End::Outside),
            visit(3, End::Dropped),
            visit(4, End::Live),
            visit(5, End::Outside),
        ];
        assert_eq!(judge(&visits), Vec::<String>::new());
    }

    #[test]
    fn whoever_left_by_itself_may_have_sent_others_away() {
        let visits = [visit(1, End::Preempted), visit(2, End::Over)];
        assert_eq!(judge(&visits), Vec::<String>::new());
        let visits = [visit(1, End::Over), visit(2, End::Preempted)];
        assert_eq!(judge(&visits).len(), 1, "an older one evicts nobody");
    }

    #[test]
    fn a_survivor_older_than_one_that_was_sent_away_is_wrong() {
        assert_eq!(judge(&[visit(1, End::Live), visit(2, End::Preempted)]).len(), 1);
        assert_eq!(judge(&[visit(1, End::Live), visit(2, End::Dropped)]).len(), 1);
    }

    #[test]
    fn nobody_is_sent_away_by_garbage() {
        assert_eq!(judge(&[visit(1, End::Preempted), visit(2, End::Outside)]).len(), 1);
    }

    #[test]
    fn a_client_that_did_not_hear_of_its_eviction_is_kept_out() {
        let mut held = visit(2, End::Preempted);
        held.held = true;
        assert_eq!(judge(&[visit(1, End::Live), held]), Vec::<String>::new());
    }

    #[test]
    fn two_survivors_and_silence_are_wrong() {
        assert_eq!(judge(&[visit(1, End::Live), visit(2, End::Live)]).len(), 1);
        assert_eq!(judge(&[visit(1, End::Mute)]).len(), 1);
    }
}
