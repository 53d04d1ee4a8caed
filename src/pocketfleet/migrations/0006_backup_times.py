from datetime import UTC, datetime

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from pocketfleet.domain.schedules import BackupPlan
from pocketfleet.errors import WrongSetting


def note_next_backups(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """The first moment of each plan that was not served yet; one that was missed is past, and so is due."""
    instances = apps.get_model('pocketfleet', 'Instance').objects.using(editor.connection.alias)
    for instance in instances.exclude(backup_plan={}).iterator():
        try:
            plan = BackupPlan.parse(instance.backup_plan)
        except WrongSetting:  # a zone that this machine no longer knows: looked at again by the clock
            plan, next_at = None, datetime.now(UTC)
        if plan is not None:
            next_at = plan.next_due(instance.backed_up_for or instance.created_at)
        instances.filter(id=instance.id).update(next_backup_at=next_at)


class Migration(migrations.Migration):

    dependencies = [
        ('pocketfleet', '0005_usage'),
    ]

    operations = [
        migrations.AddField(
            model_name='instance',
            name='next_backup_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.RunPython(note_next_backups, migrations.RunPython.noop, elidable=True),
        migrations.RemoveField(
            model_name='instance',
            name='backed_up_for',
        ),
        migrations.AddIndex(
            model_name='instance',
            index=models.Index(
                condition=models.Q(('next_backup_at__isnull', False)),
                fields=['next_backup_at'],
                name='instance_backup_due',
            ),
        ),
    ]
