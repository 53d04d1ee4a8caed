from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('pocketfleet', '0011_sealed_secrets'),
    ]

    operations = [
        migrations.AddField(
            model_name='rehearsal',
            name='kind',
            field=models.CharField(default='upgrade', max_length=7),
        ),
        migrations.AddField(
            model_name='rehearsal',
            name='origin',
            field=models.CharField(blank=True, default='', max_length=80),
        ),
    ]
