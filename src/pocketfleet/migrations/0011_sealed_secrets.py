"""Secrets, and mail on its way, are sealed with a key that lies outside the database (sealing.py)."""

from django.apps.registry import Apps
from django.conf import settings
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from pocketfleet import sealing


def seal(apps: Apps, editor: BaseDatabaseSchemaEditor) -> None:
    """What is sealed already, in a copy that was put back, stays as it is."""
    using = editor.connection.alias
    instances = apps.get_model('pocketfleet', 'Instance').objects.using(using)
    mails = apps.get_model('pocketfleet', 'AccountMail').objects.using(using)
    keys = sealing.Keyring(settings.CONFIG.sealing_key_path)
    for instance in instances.exclude(secrets={}).iterator():
        sealing.make(keys.path)
        sealed = {name: value if keys.opens(value) else keys.seal(value) for name, value in instance.secrets.items()}
        instances.filter(id=instance.id).update(secrets=sealed)
    for mail in mails.iterator():
        sealing.make(keys.path)
        if not keys.opens(mail.body):
            mails.filter(id=mail.id).update(body=keys.seal(mail.body))


class Migration(migrations.Migration):

    dependencies = [
        ('pocketfleet', '0010_edge_limits'),
    ]

    operations = [
        migrations.RunPython(seal, migrations.RunPython.noop, elidable=True),
    ]
