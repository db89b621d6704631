pub fn last_lines(_: &std::path::Path, _: usize) -> Vec<String> {
    todo!()
}
