"""PocketBase's system migrations: the release that each came with, so that data tells how old it is."""

from __future__ import annotations

from pocketfleet.domain.releases import Version

#: File name in `_migrations` -> first release that carries it. From PocketBase's tags; those since 0.22.14 seen in
#: data made by real releases.
SYSTEM_MIGRATIONS = {
    name: Version(release)
    for name, release in {
        "1661586591_add_externalAuths_table.go": "0.6.0",
        "1673167670_multi_match_migrate.go": "0.11.0",
        "1677152688_rename_authentik_to_oidc.go": "0.13.0",
        "1679943780_normalize_single_multiple_values.go": "0.14.0",
        "1679943781_add_indexes_column.go": "0.14.0",
        "1685164450_check_fk.go": "0.16.3",
        "1689579878_renormalize_single_multiple_values.go": "0.16.10",
        "1690319366_reset_null_values.go": "0.17.0",
        "1690454337_transform_relations_to_views.go": "0.17.0",
        "1691747913_resave_views.go": "0.17.4",
        "1692609521_copy_display_fields.go": "0.18.0",
        "1701496825_allow_single_oauth2_provider_in_multiple_auth_collections.go": "0.20.0",
        "1702134272_set_default_json_max_size.go": "0.20.0",
        "1718706525_add_login_alert_column.go": "0.22.14",
        "1640988000_aux_init.go": "0.23.0",
        "1717233556_v0.23_migrate.go": "0.23.0",
        "1717233557_v0.23_migrate2.go": "0.23.0",
        "1717233558_v0.23_migrate3.go": "0.23.0",
        "1717233559_v0.23_migrate4.go": "0.23.0",
        "1763020353_update_default_auth_alert_templates.go": "0.33.0",
        "1778828400_normalize_indexes.go": "0.38.1",
    }.items()
}
#: In every release, so it says nothing.
FIRST_MIGRATION = "1640988000_init.go"
