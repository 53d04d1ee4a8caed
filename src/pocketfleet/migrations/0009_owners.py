"""Uploads belong to a team; a superuser that was made for somebody refers to their account, not to their address."""

import re

import django.db.models.deletion
import pocketfleet.domain.hostnames
from django.conf import settings
from django.db import migrations, models

#: The address of somebody without one, as actions/members.py made it.
_NOWHERE = re.compile(r"\+(\d{1,18})@pocketfleet\.invalid")


def know_people_by_account(apps, schema_editor):
    """Whose address nobody has any more is nobody's: such a superuser goes, as all without an account do."""
    made = apps.get_model("pocketfleet", "MadeSuperuser").objects.filter(revoked_at=None)
    users = apps.get_model("pocketfleet", "User").objects.order_by("-pk")
    ids = {email.lower(): pk for pk, email in users.values_list("pk", "email") if email}
    known = set(users.values_list("pk", flat=True))
    seen = set()
    for row in made.order_by("-opened_at", "id"):
        nowhere = _NOWHERE.search(row.email)
        user = int(nowhere[1]) if nowhere else ids.get(row.email)
        if user in known and (row.instance_id, user) not in seen:
            seen.add((row.instance_id, user))
            made.filter(pk=row.pk).update(user=user)


def tell_invitations_apart(apps, schema_editor):
    """Those to make an account were written down as those into a team, which have a team and a role."""
    audit = apps.get_model("pocketfleet", "Audit").objects.filter(team="")
    audit.filter(verb="invite").update(verb="invite_to_sign_up")
    audit.filter(verb="withdraw_invitation").update(verb="withdraw_sign_up_invitation")


class Migration(migrations.Migration):

    dependencies = [
        ('pocketfleet', '0008_accounts'),
    ]

    operations = [
        migrations.CreateModel(
            name='Upload',
            fields=[
                ('id', models.CharField(default=pocketfleet.domain.hostnames.new_id, max_length=15, primary_key=True, serialize=False)),
                ('size', models.PositiveBigIntegerField(default=0)),
                ('sha256', models.CharField(blank=True, default='', max_length=64)),
                ('created_at', models.DateTimeField(auto_now_add=True)),
                ('version', models.PositiveSmallIntegerField(default=1)),
            ],
            options={
                'ordering': ['id'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='madesuperuser',
            name='one_superuser_per_person',
        ),
        migrations.RemoveIndex(
            model_name='madesuperuser',
            name='superuser_pending',
        ),
        migrations.RemoveField(
            model_name='adminticket',
            name='email',
        ),
        migrations.AddField(
            model_name='madesuperuser',
            name='user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        migrations.AddIndex(
            model_name='madesuperuser',
            index=models.Index(condition=models.Q(models.Q(('made_at', None), ('revoked_at', None), ('user__isnull', False)), models.Q(models.Q(('revoked_at__isnull', False), ('user', None), _connector='OR'), ('gone_at', None)), _connector='OR'), fields=['instance'], name='superuser_pending'),
        ),
        migrations.AddConstraint(
            model_name='madesuperuser',
            constraint=models.UniqueConstraint(condition=models.Q(('revoked_at', None)), fields=('instance', 'user'), name='one_superuser_per_person'),
        ),
        migrations.AddField(
            model_name='upload',
            name='team',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='uploads', to='pocketfleet.team'),
        ),
        migrations.AddField(
            model_name='upload',
            name='token',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='pocketfleet.token'),
        ),
        migrations.AddField(
            model_name='upload',
            name='user',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to=settings.AUTH_USER_MODEL),
        ),
        # last: PostgreSQL changes no table whose rows were changed before in the same transaction
        migrations.RunPython(know_people_by_account, migrations.RunPython.noop),
        migrations.RunPython(tell_invitations_apart, migrations.RunPython.noop),
    ]
