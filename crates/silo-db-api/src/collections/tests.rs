use super::*;

fn row(name: &str, documents: Option<u64>, bytes: Option<u64>) -> Collection {
    let measures = Measures {
        documents,
        data_bytes: bytes,
        storage_bytes: bytes,
        index_bytes: Some(1),
        indexes: None,
    };
    let listed = ListedCollection {
        name: name.into(),
        kind: Kind::Collection,
    };
    describe(&Catalogue::built_in().unwrap(), listed, measures)
}

#[test]
fn shares_are_of_the_total_and_the_rest_is_other() {
    let report = summarise(
        vec![
            row("boots", Some(75), Some(900)),
            row("moods", Some(20), Some(50)),
            row("surprise", Some(5), Some(50)),
        ],
        vec![],
    );
    assert_eq!(report.disposable.share_of_documents, Some(0.75));
    assert_eq!(report.disposable.share_of_data_bytes, Some(0.9));
    let categories: Vec<_> = report
        .categories
        .iter()
        .map(|sum| (sum.category, sum.sum.documents))
        .collect();
    assert_eq!(
        categories,
        [
            (Category::Logs, Some(75)),
            (Category::Content, Some(20)),
            (Category::Other, Some(5))
        ]
    );
    assert_eq!(report.total.share_of_documents, Some(1.0));
}

#[test]
fn a_sum_with_an_unknown_part_is_unknown() {
    let report = summarise(
        vec![row("boots", None, None), row("moods", Some(20), Some(50))],
        vec![],
    );
    assert_eq!(
        (report.total.documents, report.total.data_bytes),
        (None, None)
    );
    assert_eq!(
        (report.total.known_documents, report.total.known_data_bytes),
        (20, 50)
    );
    assert_eq!(report.disposable.share_of_documents, None);
    assert_eq!(
        report.collections.last().unwrap().name,
        "boots",
        "unknown sizes come last"
    );
}

#[test]
fn an_empty_database_has_zeros_and_no_shares() {
    let report = summarise(vec![], vec![]);
    assert_eq!(
        (report.total.documents, report.total.share_of_documents),
        (Some(0), None)
    );
}

#[test]
fn a_cut_list_keeps_the_sums_of_all() {
    let report = summarise(
        vec![row("a", Some(1), Some(10)), row("b", Some(2), Some(5))],
        vec![],
    );
    let view = report.view(Sort::Documents, 0, 1);
    assert_eq!(
        (view.collections.len(), view.collections[0].name.as_str()),
        (1, "b")
    );
    assert_eq!(view.total.documents, Some(3));
    let rest = report.view(Sort::Documents, 1, 9);
    assert_eq!(rest.collections[0].name, "a");
    assert!(report.view(Sort::Name, 2, 9).collections.is_empty());
}
