-- The cells of noc_playback in the interval, of the cohort that the filters choose.
select *
from gold.noc_playback
where
    minute >= getvariable('from_minute')
    and minute < getvariable('to_minute')
    and (getvariable('country') is null or country = getvariable('country'))
    and (getvariable('isp') is null or isp = getvariable('isp'))
    and (getvariable('edge') is null or edge = getvariable('edge'))
    and (getvariable('device_type') is null or device_type = getvariable('device_type'))
    and (getvariable('app_version') is null or app_version = getvariable('app_version'))
    and (getvariable('video_id') is null or video_id = getvariable('video_id'))
