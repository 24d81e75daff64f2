-- The cells of noc_cdn in the interval. Of the filters a request knows its ISP and its edge.
select *
from gold.noc_cdn
where
    minute >= getvariable('from_minute')
    and minute < getvariable('to_minute')
    and (getvariable('isp') is null or isp = getvariable('isp'))
    and (getvariable('edge') is null or edge = getvariable('edge'))
