from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('pocketfleet', '0012_rehearsed_restores'),
    ]

    operations = [
        migrations.AddField(
            model_name='team',
            name='guest_limits',
            field=models.JSONField(default=dict),
        ),
    ]
