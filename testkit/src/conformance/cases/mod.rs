//! The table of all cases.

mod admission;
mod archives;
mod confinement;
mod entries;
mod environment;
mod exits;
mod files;
mod layers;
mod lifecycle;
mod limits;
mod place;
mod ports;
mod signals;
mod streams;
mod terminal;
mod workspace;

use super::case::{
    Case,
    Need::{
        ImageChanges, Isolation, LimitMemory, LimitPids, Mounts, PublishPorts, ReadOnlyRoot, Terminal, Users,
        WorkspaceView,
    },
    Road,
};

/// `both`, `once` and `named` are the roads of a case; `none` has no road of its own.
macro_rules! table {
    ($($road:ident $module:ident :: $function:ident $needs:expr;)+) => {
        [$(table!(@ $road, stringify!($function), &$needs, |bench| Box::pin($module::$function(bench)))),+].concat()
    };
    (@ both, $name:expr, $needs:expr, $body:expr) => {
        vec![
            Case::new($name, Some(Road::Once), $needs, $body),
            Case::new($name, Some(Road::Named), $needs, $body),
        ]
    };
    (@ once, $name:expr, $needs:expr, $body:expr) => {
        vec![Case::new($name, Some(Road::Once), $needs, $body)]
    };
    (@ named, $name:expr, $needs:expr, $body:expr) => {
        vec![Case::new($name, Some(Road::Named), $needs, $body)]
    };
    (@ none, $name:expr, $needs:expr, $body:expr) => {
        vec![Case::new($name, None, $needs, $body)]
    };
}

/// Every case on every road.
#[must_use]
pub fn cases() -> Vec<Case> {
    [of_sandboxes(), of_trees()].concat()
}

fn of_sandboxes() -> Vec<Case> {
    table! {
        none admission::admit_is_pure [];
        none admission::admit_refuses_what_capabilities_lack [];
        none admission::required_limits_are_refused_or_held [];
        none admission::default_limits_that_cannot_hold_are_named [];
        none admission::probe_is_healthy_and_leaves_nothing [];

        both exits::exit_codes [];
        both exits::signal_deaths [];
        both exits::a_background_child_does_not_hold_the_exit [];
        both exits::command_not_found [];
        both exits::not_executable [];
        once exits::an_unfit_command_leaves_nothing [];
        once exits::dropping_the_process_ends_everything [];
        named exits::dropping_the_process_leaves_the_command [];
        named exits::a_beginning_is_told_or_refused [];

        both streams::stdout_and_stderr_are_apart [];
        both streams::every_byte_value_passes [];
        both streams::what_was_written_is_there_at_the_end [];
        both streams::a_mebibyte_on_both_streams [];
        both streams::stdin_passes_and_closes [];
        both streams::no_input_is_at_its_end [];
        both streams::output_comes_before_the_end [];
        both streams::a_reader_that_leaves_breaks_the_pipe [];
        both streams::an_unread_command_waits [];

        both environment::env_is_exact [];
        both environment::later_entries_win [];
        both environment::many_variables [];
        both environment::arguments_are_exact [];
        both environment::an_argument_of_100_kb [];

        both place::workdir_of_the_command [];
        both place::workdir_of_the_spec [];
        both place::workdir_is_the_guests [Isolation];
        both place::a_missing_workdir_is_named [];
        both place::root_by_default [Isolation];
        both place::another_user [Users];
        both place::another_user_opens_its_streams_again [Users];

        both terminal::is_a_terminal_of_the_given_size [Terminal];
        both terminal::resizes [Terminal];
        both terminal::a_control_character_interrupts [Terminal];
        both terminal::none_where_none_was_asked_for [];

        both signals::terminate_reaches_a_handler [];
        named signals::a_signal_right_after_the_start_is_not_lost [];
        both signals::each_signal_arrives_as_itself [];
        both signals::kill_cannot_be_caught [];
        both signals::a_signal_to_the_group_reaches_children [];
        both signals::after_the_end_a_signal_does_nothing [];
        both signals::sixteen_commands_at_once [];

        both confinement::network_off_is_loopback_only [Isolation];
        both confinement::a_read_only_root_refuses_writes [ReadOnlyRoot];
        both confinement::a_writable_root_never_reaches_the_host [Isolation];
        both confinement::a_writable_root_lets_programs_be_changed [Isolation, ImageChanges];
        both confinement::host_processes_are_not_seen [Isolation];
        both confinement::host_files_are_not_seen [Isolation];

        both workspace::a_view_reads_and_never_writes_the_project [WorkspaceView];
        both workspace::links_of_a_project_stay_inside [WorkspaceView];
        both workspace::a_writable_mount_reaches_the_host [Mounts];
        both workspace::a_read_only_mount_refuses_writes [Mounts];
        both workspace::a_direct_workspace_reaches_the_host [Mounts];

        both limits::memory_is_enforced [LimitMemory];
        both limits::processes_are_enforced [LimitPids];
        named limits::a_limit_outlives_one_command [LimitPids];

        named lifecycle::stop_keeps_the_disk [];
        named lifecycle::create_does_not_start [];
        named lifecycle::start_is_idempotent [];
        named lifecycle::stop_is_idempotent [];
        named lifecycle::stop_ends_commands_and_says_so [];
        named lifecycle::stop_gives_its_grace [];
        named lifecycle::stop_kills_what_ignores_it [];
        named lifecycle::destroy_is_idempotent [];
        named lifecycle::destroy_takes_a_running_sandbox [];
        named lifecycle::destroy_works_without_a_state [];
        named lifecycle::owned_sandboxes_are_listed [];
        named lifecycle::another_instance_attaches [];
        named lifecycle::another_instance_stops [];
        named lifecycle::two_sandboxes_are_apart [];
        named lifecycle::one_command_ends_another [];
        named lifecycle::stats_count_what_runs [];

        named ports::forward_reaches_a_server_inside [PublishPorts];
        named ports::forward_to_nothing_is_an_error [PublishPorts];
    }
}

/// Of files, archives and images.
fn of_trees() -> Vec<Case> {
    table! {
        named files::what_is_written_is_read [];
        named files::a_written_program_runs [];
        named files::faults_have_their_kinds [];
        named files::special_files_are_refused_at_once [];
        named files::links_to_the_outside_stay_inside [];

        named entries::a_file_is_stored_and_opened [];
        named entries::a_file_keeps_its_mode_and_its_links [];
        named entries::content_that_breaks_off_changes_nothing [];
        named entries::entries_are_listed [];
        named entries::a_long_listing_is_cut [];
        named entries::faults_of_entries_have_their_kinds [];
        named entries::entries_behind_links_stay_inside [];

        named archives::kinds_are_told [];
        named archives::a_tree_comes_out_and_goes_in [];
        named archives::a_hostile_archive_stays_inside [];
        named archives::archives_of_links_stay_inside [];
        named archives::faults_of_archives_have_their_kinds [];
        named archives::a_read_only_root_takes_no_archive [ReadOnlyRoot];
        named archives::owners_are_kept_where_they_exist [Users];
        named archives::a_stop_ends_a_transfer [];
        named archives::killing_the_transfer_is_told [Isolation];
        named archives::what_the_host_sees_has_no_set_id_files [Mounts];

        both layers::layers_are_seen_as_one [Isolation];
        both layers::writes_stay_in_the_sandbox [Isolation];
        named layers::what_is_written_lasts [Isolation];
        both layers::layers_of_a_read_only_root_refuse_writes [Isolation, ReadOnlyRoot];
        both layers::the_image_decides_where_nobody_else_does [Isolation];
        both layers::the_user_of_the_image [Isolation, Users];
        both layers::a_missing_workdir_is_made [Isolation];
        both layers::a_missing_program_is_not_found [Isolation];
        both layers::generated_files_replace_what_is_there [Isolation];
        both layers::links_at_mount_targets_lead_nowhere [Isolation, WorkspaceView, Mounts];
        both layers::set_user_id_files_are_nothing [Isolation, Users];
        both layers::as_many_layers_as_an_image_has [Isolation];
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique() {
        let names: Vec<String> = super::cases().iter().map(super::Case::name).collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    }
}
