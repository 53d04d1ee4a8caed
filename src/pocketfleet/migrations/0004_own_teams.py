"""Everybody gets a team of their own, and what is there already belongs to the operator's."""

from django.db import migrations


def found_teams(apps, schema_editor):
    """Everybody gets a team of their own; what is there already belongs to the operator's."""
    user_model, team_model = apps.get_model("pocketfleet", "User"), apps.get_model("pocketfleet", "Team")
    membership_model = apps.get_model("pocketfleet", "Membership")
    instance_model = apps.get_model("pocketfleet", "Instance")
    for user in user_model.objects.order_by("id"):
        team = team_model.objects.create(name=user.username, own_of=user)
        membership_model.objects.create(team=team, user=user, role="owner")
    operator = team_model.objects.filter(own_of__is_superuser=True).order_by("own_of_id").first()
    instance_model.objects.update(team=operator)


class Migration(migrations.Migration):

    dependencies = [
        ('pocketfleet', '0003_teams'),
    ]

    operations = [
        migrations.RunPython(found_teams, migrations.RunPython.noop),
    ]
