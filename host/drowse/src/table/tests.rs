use super::*;

#[test]
fn columns_are_as_wide_as_their_widest_word() {
    let mut table = Table::new(&["WORKLOAD", "PHASE"]);
    table.row(["blog".into(), Cell::from("ready").in_tone(Tone::Good)]);
    table.row(["a-longer-name".into(), "ü".into()]);
    let expected = "\
WORKLOAD       PHASE
blog           ready
a-longer-name  ü
";
    assert_eq!(table.render(&Output::plain()), expected);
}

#[test]
fn colour_does_not_move_columns() {
    let mut table = Table::new(&["A", "B"]);
    table.row([Cell::from("x").in_tone(Tone::Bad), "y".into()]);
    let text = table.render(&Output::coloured());
    assert!(text.contains("\u{1b}[31mx\u{1b}[0m  y\n"), "{text:?}");
}

#[test]
fn a_word_with_control_characters_cannot_break_out_of_its_row() {
    let mut table = Table::new(&["A"]);
    table.row([Cell::from("x\n\u{1b}[2Jy")]);
    assert_eq!(table.render(&Output::plain()), "A\nx\\n\\u{1b}[2Jy\n");
}
