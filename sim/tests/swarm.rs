//! A campaign small enough for every run of the tests.

use greenroom_sim::campaign;

#[test]
fn no_seed_breaks_and_every_legal_cell_is_walked() {
    let campaign = campaign(1, 3_000);
    assert!(
        campaign.failures.is_empty(),
        "{:#?}",
        &campaign.failures[..campaign.failures.len().min(3)]
    );
    assert_eq!(campaign.cells_missed(), Vec::<String>::new());
}
